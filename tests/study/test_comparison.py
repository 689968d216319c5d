from __future__ import annotations

import csv
import io
import json

import pytest

from recbole_sr.errors import InputError
from recbole_sr.study.statistics import holm, paired
from recbole_sr.study.summary import by_run, summarize, time_to_score
from recbole_sr.study.text import to_csv, to_markdown, to_text
from recbole_sr.study.trial import STOCK, UNFINISHED

STOCK_SCORES = [0.30, 0.31, 0.29, 0.33, 0.30]
OUR_SCORES = [0.34, 0.36, 0.32, 0.37, 0.35]


def result(variant, seed, score, **more):
    return {
        "model": "BPR",
        "dataset": "tiny",
        "variant": variant,
        "seed": seed,
        "error": None,
        "best_valid_score": score,
        "valid_score_bigger": True,
        "best_valid_result": {"mrr@10": score},
        "test_result": {"mrr@10": score, "hit@10": 2 * score},
        "metric": "mrr@10",
        "epochs": 2,
        "switch_epoch": None,
        "seconds": {"start_up": 1, "training": 4, "evaluation": 1, "other": 1, "total": 7},
        "split": [seed],
        "sizes": [80, 10, 10],
        **more,
    }


def lines(*scores):
    return [{"valid_score": score, "train_seconds": 2.0} for score in scores]


def settled(*scores):
    """Lines of a run that early stopping ended."""
    return lines(*scores, *[scores[0]] * 11)


def study(seeds=5, **variants):
    results, epochs = [], {}
    for variant, scores in {STOCK: STOCK_SCORES, **variants}.items():
        for seed, score in enumerate(scores[:seeds]):
            results.append(result(variant, seed, score))
            epochs[f"BPR-tiny-{variant}-{seed}"] = settled(score / 2, score)
    return results, epochs


def test_mean_spread_and_paired_test():
    comparison = summarize(*study(default=OUR_SCORES, worse=[0.1, 0.2, 0.1, 0.2, 0.15]))
    stock, ours, worse = comparison["rows"]
    assert stock["verdict"] == "baseline"
    assert stock["test"] is None
    assert ours["test_result"]["mrr@10"]["mean"] == pytest.approx(0.348)
    assert ours["test_result"]["mrr@10"]["sd"] == pytest.approx(0.0192353841)
    others = (OUR_SCORES, [0.1, 0.2, 0.1, 0.2, 0.15])
    expected = [paired(scores, STOCK_SCORES, ratio=1 / 8) for scores in others]
    corrected = holm([one.p_value for one in expected])
    assert [row["test"]["p_holm"] for row in (ours, worse)] == corrected
    assert ours["test"]["effect_size"] == expected[0].effect_size
    assert (ours["verdict"], worse["verdict"]) == ("better", "worse")


def test_fewer_than_five_seeds_are_no_claim_however_clear():
    row = summarize(*study(seeds=4, default=[score + 1 for score in OUR_SCORES]))["rows"][1]
    assert row["verdict"] == "no claim: paired seeds 4, needed 5"
    table = to_markdown({**summarize([], {}), "rows": [row]})
    assert f"{row['test']['p_holm']:.4f}" not in table


def test_any_variant_can_be_the_baseline():
    comparison = summarize(*study(off=OUR_SCORES), baseline="off")
    stock, off = comparison["rows"]
    assert off["verdict"] == "baseline"
    assert stock["verdict"] == "worse"
    assert stock["to_baseline"]["reached"] < off["to_baseline"]["reached"] == 5
    assert to_markdown(comparison).startswith("# Comparison with off")


def test_no_difference_is_not_shown_as_one():
    row = summarize(*study(default=STOCK_SCORES))["rows"][1]
    assert row["verdict"] == "no significant difference"


def test_smaller_can_be_better():
    results, epochs = study(default=OUR_SCORES)
    for one in results:
        one["valid_score_bigger"] = False
    assert summarize(results, epochs)["rows"][1]["verdict"] == "worse"


def test_time_to_the_baselines_best_is_paired_by_seed():
    results, epochs = study(seeds=2, default=[0.5, 0.2])
    epochs["BPR-tiny-default-0"] = lines(0.1, 0.29, 0.3, 0.5)  # the baseline's best is 0.30
    to = summarize(results, epochs)["rows"][1]["to_baseline"]
    assert (to["pairs"], to["reached"]) == (2, 1)
    assert to["epochs"]["mean"] == 3
    assert to["seconds"]["mean"] == 6.0


def test_reached_at_skips_epochs_without_validation():
    assert time_to_score(lines(None, 0.2, None, 0.4), 0.3, bigger=True) == (4, 8.0)
    assert time_to_score(lines(0.5, 0.2), 0.3, bigger=False) == (2, 4.0)
    assert time_to_score(lines(0.1), 0.3, bigger=True) is None
    assert time_to_score(lines(0.1), 0.3, bigger=True, untrained=0.3) == (0, 0.0)
    assert time_to_score(lines(0.4), 0.3, bigger=True, untrained=0.2) == (1, 2.0)


def test_a_failed_run_is_a_row_that_says_so():
    results, epochs = study(seeds=2, default=OUR_SCORES)
    failed = {"model": "BPR", "dataset": "tiny", "variant": "default", "seed": 1}
    results[3] = {**failed, "error": "ValueError: loss | nan"}
    comparison = summarize(results, epochs)
    assert comparison["failed"] == [{**failed, "error": "ValueError: loss | nan"}]
    row = comparison["rows"][1]
    assert (row["runs"], row["failed"], row["test"]["n"]) == (1, 1, 1)
    assert r"ValueError: loss \| nan" in to_markdown(comparison)
    assert "1, 1 failed" in to_markdown(comparison)


def test_a_variant_that_always_failed_still_has_its_row():
    results, epochs = study(seeds=1)
    results.append({**results[0], "variant": "default", "error": "killed"})
    row = summarize(results, epochs)["rows"][1]
    assert (row["runs"], row["failed"], row["verdict"]) == (0, 1, "nothing to compare")
    to_markdown(summarize(results, epochs))


def test_another_split_stops_the_comparison():
    results, epochs = study(seeds=1, default=OUR_SCORES)
    results[1]["split"] = [99]
    with pytest.raises(InputError, match="expected one split for all variants, got another for de"):
        summarize(results, epochs)


def test_seeds_with_one_split_are_independent():
    results, epochs = study(default=OUR_SCORES)
    for one in results:
        one["split"] = [7]
    test = summarize(results, epochs)["rows"][1]["test"]
    assert test["p_value"] == paired(OUR_SCORES, STOCK_SCORES, ratio=0).p_value


def test_runs_that_kept_no_sizes_have_no_test():
    results, epochs = study(default=OUR_SCORES)
    del results[-1]["sizes"]
    comparison = summarize(results, epochs)
    row = comparison["rows"][1]
    assert row["test"]["p_value"] is None
    assert row["verdict"].startswith("no claim: earlier runs")
    assert "+0.0420" in to_markdown(comparison)


def test_csv_and_json_hold_the_same_numbers():
    comparison = summarize(*study(default=OUR_SCORES))
    assert json.loads(json.dumps(comparison)) == comparison
    table = list(csv.DictReader(io.StringIO(to_csv(comparison["rows"]))))
    assert [row["variant"] for row in table] == ["stock", "default"]
    ours = comparison["rows"][1]
    assert float(table[1]["test.p_value"]) == ours["test"]["p_value"]
    assert float(table[1]["test_result.hit@10.mean"]) == ours["test_result"]["hit@10"]["mean"]


def test_each_run_has_its_own_line_with_the_settings_that_differ():
    results, epochs = study(seeds=2, default=[0.5, 0.2])
    for run in results:
        rate = 0.1 if run["variant"] == STOCK else 0.2
        run["settings"] = {"topk": [10], "learning_rate": rate}
    results[1]["untrained"] = results[1]["best_valid_score"]
    results.append({**result("default", 2, 0.1), "error": "ValueError: loss | nan"})
    runs = by_run(results, epochs)
    assert [(run["variant"], run["seed"]) for run in runs] == [
        (variant, seed) for variant in (STOCK, "default") for seed in (0, 1)
    ]
    assert [run["settings"] for run in runs] == [{"learning_rate": x} for x in (0.1, 0.1, 0.2, 0.2)]
    assert [run["best_epoch"] for run in runs] == [2, 2, 2, 2]  # the last of equal ones
    assert [run["epochs_to_baselines_best"] for run in runs] == [2, 0, 2, None]
    table = list(csv.DictReader(io.StringIO(to_csv(runs))))
    assert [float(row["test_result.mrr@10"]) for row in table] == [0.30, 0.31, 0.5, 0.2]
    assert [row["epochs_to_baselines_best"] for row in table] == ["2", "0", "2", ""]
    assert by_run(results[-1:], epochs) == []


def test_the_epoch_of_a_run_is_that_of_the_model_it_keeps():
    results, epochs = study(seeds=2)
    epochs["BPR-tiny-stock-0"] = lines(0.1, 0.3, 0.3, 0.2)
    results[1] |= {"untrained": 0.31}
    epochs["BPR-tiny-stock-1"] = lines(0.1, 0.3)
    assert [run["best_epoch"] for run in by_run(results, epochs)] == [3, 0]
    assert summarize(results, epochs)["rows"][0]["best_epoch"]["mean"] == 1.5
    results[0]["model"] = "EASE"  # which counts no epochs
    assert "best_epoch" not in by_run(results[:1], epochs)[0]


RISING = {
    "was still rising at its last epoch; raise epochs": lines(0.1, 0.3),
    "was ended by epochs before early stopping; raise epochs": lines(0.1, 0.3, 0.1, 0.2),
    "was still rising when early stopping ended it; raise stopping_step": lines(
        0.3, *(0.1 + 0.01 * step for step in range(11))
    ),
}


@pytest.mark.parametrize(("reason", "course"), RISING.items())
def test_no_better_is_claimed_over_a_baseline_that_was_still_rising(reason, course):
    results, epochs = study(default=OUR_SCORES, worse=[0.1, 0.2, 0.1, 0.2, 0.15])
    epochs["BPR-tiny-stock-0"] = course
    comparison = summarize(results, epochs)
    if "stopping_step" in reason:  # one of five recovers from a dip by chance
        assert comparison["rows"][1]["verdict"] == "better"
        epochs |= {f"BPR-tiny-stock-{seed}": course for seed in (1, 2)}
        for result in results[:3]:
            result["best_valid_score"] = 0.3
        comparison = summarize(results, epochs)
    stock, ours, worse = comparison["rows"]
    assert len(stock["unsettled"]) == 1
    assert ours["verdict"] == f"not judged: the baseline {reason}"
    assert worse["verdict"] == "worse"  # the more so
    assert reason.removeprefix("was ") in to_text(comparison)


def test_a_variant_that_was_still_rising_may_be_better_still():
    results, epochs = study(default=OUR_SCORES)
    epochs["BPR-tiny-default-1"] = lines(0.1, 0.36)
    row = summarize(results, epochs)["rows"][1]
    assert row["verdict"].startswith("better; it may be better still, as it was still rising at")
    assert row["best_epoch"]["mean"] == 2


@pytest.mark.parametrize(("stopping_step", "verdict"), [(3, "better"), (4, "not judged")])
def test_early_stopping_is_by_the_runs_own_patience(stopping_step, verdict):
    results, epochs = study(default=OUR_SCORES)
    for result in results:
        result["stopping_step"] = stopping_step
    epochs["BPR-tiny-stock-0"] = lines(0.1, 0.3, 0.29, 0.27, 0.29, 0.27)
    assert summarize(results, epochs)["rows"][1]["verdict"].split(":")[0] == verdict


def test_percent_saved_is_of_epochs_and_of_seconds_with_start_up():
    results, epochs = study(seeds=2, default=[0.5, 0.2])
    epochs["BPR-tiny-stock-0"] = settled(0.1, 0.2, 0.25, 0.3)  # 1 + 4 * 2 seconds
    epochs["BPR-tiny-default-0"] = settled(0.3, 0.5)  # 1 + 2 seconds
    comparison = summarize(results, epochs)
    saved = comparison["rows"][1]["to_baseline"]["saved_percent"]
    assert saved["epochs"]["mean"] == 75
    assert saved["seconds"]["mean"] == pytest.approx(100 * (1 - 3 / 9))
    text = " ".join(to_text(comparison).split())
    assert "in 1 of 2 runs, with 75 % fewer epochs and 67 % fewer seconds" in text
    epochs["BPR-tiny-stock-0"] = settled(0.3)
    epochs["BPR-tiny-default-0"] = settled(0.1, 0.5)
    assert "with 100 % more epochs" in " ".join(to_text(summarize(results, epochs)).split())


def references():
    results, epochs = study(default=OUR_SCORES)
    for seed in range(5):
        own = {"model": "EASE", "epochs": 1, "split": [seed], "peak_memory": 2**30}
        results.append(result(STOCK, seed, 0.4, **own))
        epochs[f"EASE-tiny-stock-{seed}"] = lines(0.4)
    return results, epochs


def test_one_table_over_all_models():
    comparison = summarize(*references())
    ease = comparison["rows"][2]
    assert (ease["verdict"], ease["test"], ease["peak_memory"]["mean"]) == (
        "reference",
        None,
        2**30,
    )
    assert comparison["rows"][1]["gain"] == pytest.approx(100 * 0.042 / 0.306)
    text = to_text(comparison)
    title, head, _, stock, ours, reference = text.splitlines()[0:1] + text.splitlines()[2:7]
    assert title == "tiny, mrr@10"
    assert head.split("  ")[0] == "model"
    assert stock.split() == ["BPR", "stock", *["0.3060", "±", "0.0152"], "7", "2", "baseline"]
    assert ours.split()[5:] == ["+13.7", "7", "2", "better"]
    assert reference.split()[-3:] == ["7", "1024", "reference"]
    assert "tiny: best validation score 0.4000 by EASE stock" in text
    assert (
        f"BPR default: better (p = {comparison['rows'][1]['test']['p_holm']:.4f}). Reached" in text
    )
    assert "| EASE    | stock     |" in to_markdown(comparison)


def test_the_text_is_at_most_100_columns_wide():
    results, epochs = study(**{"a-very-long-name-of-a-file-of-properties": OUR_SCORES})
    epochs["BPR-tiny-stock-0"] = lines(0.3)
    comparison = summarize(results, epochs)
    comparison["failed"] = [{**results[0], "error": "x " * 100}]
    comparison["left_out"] = ["seeds: " + "word " * 40]
    lengths = [len(line) for line in to_text(comparison).splitlines()]
    assert max(lengths) <= 100


def test_models_with_other_parts_are_said_to_be_apart():
    results, epochs = references()
    for one in results[10:]:
        one["split"] = [99]
    comparison = summarize(results, epochs)
    assert comparison["apart"] == {"tiny": [["BPR"], ["EASE"]]}
    assert "tiny: its parts are not the same for BPR; EASE: compare" in to_text(comparison)
    assert "tiny: best validation" not in to_text(comparison)


def test_what_a_budget_ended_has_not_failed():
    results, epochs = study(seeds=2, default=OUR_SCORES)
    results[3] = {**results[3], "error": UNFINISHED}
    comparison = summarize(results, epochs)
    assert not comparison["failed"]
    assert [run["seed"] for run in comparison["unfinished"]] == [1]
    assert (comparison["rows"][1]["runs"], comparison["rows"][1]["failed"]) == (1, 0)
    assert f"BPR-tiny-default-1: {UNFINISHED}" in to_text(comparison)
    assert "## Runs not finished" in to_markdown(comparison)
