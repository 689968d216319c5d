"""Ways to fill embedding tables from the training interactions before training begins.

Truncated singular value decomposition, alternating least squares, and the spectral initialisation
made of them. The room imports numpy, scipy, scikit-learn and torch. It names keys of the method in
its messages alone, and never knows RecBole, a model or a file: it is given tables and pairs, and
fills the tables.
"""
