"""Studies on a Ray cluster, started on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from recbole_sr.cli import main
from recbole_sr.errors import InputError
from recbole_sr.study.cluster import joined
from recbole_sr.study.compare import compare
from recbole_sr.study.trial import Trial

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def scores(comparison):
    return [(row["variant"], row["runs"], row.get("test_result")) for row in comparison["rows"]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_on_a_cluster_is_the_one_on_this_machine(tiny):
    pytest.importorskip("ray", "2.60")
    settings = {"seeds": 1, "variants": ["default"], "config_dict": {**tiny, "epochs": 2}}
    here = compare(["BPR"], ["tiny"], output="here", **settings)
    there = compare(["BPR"], ["tiny"], output="there", ray="local", **settings)
    assert scores(there) == scores(here)
    names = [
        sorted(path.relative_to(study).as_posix() for path in Path(study).glob("runs/*/*"))
        for study in ("here", "there")
    ]
    assert names[0] == names[1]
    (lost,) = Path("there/runs").glob("BPR-tiny-default-2020")
    kept = Path("there/runs/BPR-tiny-stock-2020/result.json")
    before = kept.stat().st_mtime_ns
    shutil.rmtree(lost)
    again = compare(["BPR"], ["tiny"], output="there", ray="local", resume=True, **settings)
    assert scores(again) == scores(here)
    assert kept.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trial_whose_worker_is_killed_is_run_again(tiny, tmp_path, monkeypatch):
    pytest.importorskip("ray", "2.60")
    ended = Trial.run

    def run(self, folder, *others):
        if not Path("killed").exists():
            Path("killed").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return ended(self, folder, *others)

    monkeypatch.setattr(Trial, "run", run)  # in the workers, too: the class goes by value
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    for module in ("recbole_sr.study.trial", "recbole_sr.study.cluster"):
        cloudpickle.register_pickle_by_value(sys.modules[module])
    settings = {"seeds": 1, "variants": ["default"], "config_dict": {**tiny, "epochs": 2}}
    comparison = compare(["BPR"], ["tiny"], output="study", ray="local", **settings)
    assert Path("killed").is_file()
    assert not comparison["failed"]
    assert [row["runs"] for row in comparison["rows"]] == [1, 1]


class Ray:
    """As much of Ray as a driver asks for, in this process."""

    class exceptions:  # noqa: N801 - as Ray has it
        class RayError(Exception):
            pass

    def __init__(self, *answers):
        self.answers = list(answers)
        self.cancelled = []

    def remote(self, **options):
        assert options["max_retries"] >= 1
        return lambda function: type("Task", (), {"remote": staticmethod(lambda *given: given)})

    def cluster_resources(self):
        return {"CPU": 3.0, "memory": 1e9}

    def wait(self, tasks, timeout):
        return (tasks, []) if self.answers else ([], tasks)

    def get(self, task):
        answer = self.answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cancel(self, task, force):
        self.cancelled.append(task)


def test_files_come_back_and_a_lost_worker_is_a_failed_run(tmp_path):
    import threading

    from recbole_sr.study.cluster import Cluster

    trial = Trial("BPR", "tiny", "default", 1)
    result = {**trial.request(), "error": None}
    files = {"result.json": json.dumps(result).encode(), "metrics.jsonl": b"{}\n"}
    cluster = Cluster(Ray(files))
    assert cluster.size == 3
    assert cluster.run(trial, tmp_path / "run", threading.Event()) == result
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == b"{}\n"
    lost = Cluster(Ray(Ray.exceptions.RayError("The worker died\nunexpectedly.")))
    found = lost.run(trial, tmp_path / "lost", threading.Event())
    assert found["error"] == "Ray: The worker died"
    assert json.loads((tmp_path / "lost" / "result.json").read_text()) == found
    stopped = threading.Event()
    stopped.set()
    waiting = Ray()
    with pytest.raises(KeyboardInterrupt):
        Cluster(waiting).run(trial, tmp_path / "stopped", stopped)
    assert len(waiting.cancelled) == 1


REFUSED = {
    "jobs": ({"jobs": 2}, "ray: expected no --jobs beside it, .*, got jobs 2; drop one"),
    "a budget": ({"minutes": 1.0}, "ray: expected no --quick beside it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_with_a_cluster_is_refused(case, tiny):
    more, says = REFUSED[case]
    with pytest.raises(InputError, match=says):
        compare(["BPR"], ["tiny"], config_dict=tiny, ray="local", **more)


def test_a_cluster_that_is_not_there_is_named(tiny, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = ["compare", "-d", "tiny", *(f"--{key}={value}" for key, value in tiny.items())]
    assert main([*arguments, "--ray", "local"]) == 2
    assert "--ray: expected the package ray, got none; pip install" in capsys.readouterr().err
    assert not Path("comparison").exists()

    class Refusing:
        def init(self, *_, **__):
            raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setitem(sys.modules, "ray", Refusing())
    with (
        pytest.raises(
            InputError, match=r"--ray: expected the address of a Ray cluster, got 'auto'"
        ),
        joined("auto"),
    ):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:99999", f"{'x' * 70}:1"])
def test_an_address_where_nothing_answers_is_refused_at_once(address, monkeypatch):
    class Waiting:  # as Ray does, for minutes
        def init(self, *_, **__):
            raise AssertionError("Ray was asked")

    monkeypatch.setitem(sys.modules, "ray", Waiting())
    with pytest.raises(InputError, match="--ray: expected the address of a Ray"), joined(address):
        pass
