"""3D-R2N2 (Choy et al. 2016): a 3-D recurrent network that takes in one view after the other."""
