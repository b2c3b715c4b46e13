"""CODER (Yi et al., CVPR 2024, arXiv 2404.17753): an image is described by its distances to many texts."""
