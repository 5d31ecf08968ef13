"""Labels learned by meta-learning: so that a network trained on them does well on real images.

"Flexible Dataset Distillation: Learn Labels Instead of Images" (Bohdal, Yang, Hospedales,
arXiv 2006.08572). Methods give a `Learner`: gradient steps, or ridge regression.
"""
