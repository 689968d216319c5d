"""Several processes that train one model: what torchrun tells a process, and what they exchange.

Sums and gathers that gradients pass through, decisions that one process takes for all, and what is
said where one of them is lost. The room imports torch alone. Of RecBole it has the names of the
keys that say how many processes there are, and it never knows a model, a phase or a file.
"""
