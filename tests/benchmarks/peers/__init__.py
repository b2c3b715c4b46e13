"""Clearline beside other ways to do the same: a naive script, LitServe, Roboflow's InferencePipeline."""
