"""What is known of each RecBole model, and how the method gets into one.

The registry has one entry for each model; sources say how to read its representations; ``inject``
makes the subclass whose loss is a phase's. The room imports RecBole, ``objectives``, ``init``,
``distributed`` and ``recbole_compat``. It never knows a property file, a run, a trainer or the fast
path.
"""
