"""The mathematics of the method: what a phase of training minimises, and when a phase ends.

Stable rank, losses, regularisers, the rank target, phases and their schedule. Everything here works
on tensors and numbers alone. The room imports torch and never knows RecBole, a model, a data set, a
property key or a file.
"""
