"""Logits DeConfusion (Li et al., CVPR 2025, arXiv 2504.12104): published form, and forms for few labels."""
