"""What RecBole 1.2.1 needs on today's packages, and how its classes and pickles are handled.

Each mend is one named function or mixin with a test that fails once it can be deleted. The room
imports RecBole and nothing of this package but its errors, and never knows the method.
"""
