"""RecBole's atomic file from the text files of the repositories in results/data.md.

``python -m benchmarks.convert FOLDER/gowalla train.txt test.txt`` writes gowalla.inter there.
A line is a user and the items of that user, in order; with ``--pairs`` it is a user and one item.
The time of an interaction is its place among the user's. With ``--parts`` each text file also
becomes a part of its own, such as gowalla.train.inter.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path


def interactions(files: list[Path], pairs: bool) -> Iterator[tuple[str, str, int]]:
    """User, item and place of each interaction."""
    places: Counter[str] = Counter()
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            user, *items = line.split() or [""]
            for item in items[:1] if pairs else items:
                yield user, item, places[user]
                places[user] += 1


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="benchmarks.convert", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the data set, whose name is the folder's")
    parser.add_argument("files", type=Path, nargs="+", help="all of the data set's files")
    parser.add_argument("--pairs", action="store_true", help="a line is a user and one item")
    parser.add_argument("--parts", action="store_true", help="write each file as a part as well")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    name = given.folder.name
    write(given.folder / f"{name}.inter", given.files, given.pairs)
    for file in given.files if given.parts else ():
        write(given.folder / f"{name}.{file.stem}.inter", [file], given.pairs)


def write(path: Path, files: list[Path], pairs: bool) -> None:
    """Write the interactions of some files, and say how many there are."""
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += ["\t".join(map(str, one)) for one in interactions(files, pairs)]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print(f"{path}: {len(lines) - 1:,} interactions")


if __name__ == "__main__":
    main()
