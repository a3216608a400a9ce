"""Pix2Vox (Xie et al. 2019): context-aware fusion of the volumes of single views."""
