"""The tests on other Pythons, with the tested and the newest packages: `pip install nox`, `nox`."""

import nox


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
@nox.parametrize("constraints", ["constraints.txt", "constraints-newest.txt"])
def tests(session: nox.Session, constraints: str) -> None:
    """README's second command; more words go to pytest, as in ``nox -p 3.13 -- -k config``."""
    session.install("-c", constraints, ".[test]")
    session.install("--no-deps", "-c", constraints, "recbole")
    session.run("pytest", "-n", "2", *session.posargs)
