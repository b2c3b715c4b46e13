"""The operators' web page: live wall, labelling, why, confusion, drift, heads."""
