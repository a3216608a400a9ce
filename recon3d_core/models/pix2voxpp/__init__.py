"""Pix2Vox++ (Xie et al. 2020): Pix2Vox with a residual backbone and a merger of more scales."""
