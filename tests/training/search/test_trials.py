import math

import pytest
from optuna.trial import TrialState

from rhoflow.training.search.trials import Trials, mend
from rhoflow.training.stage import DivergedError

LIMITS = {"head_learning_rate": (1e-5, 1e-2), "batch_size": (4, 64), "dropout": (0.0, 0.5)}
OWN = {"head_learning_rate": 1e-3, "batch_size": 32, "dropout": 0.2}
BEST = {"head_learning_rate": 1e-4, "dropout": 0.4}
N = 16  # ten at random, then Optuna's model of the score; some are given up


class Killed(BaseException):
    """Ends the process as far as the journal can tell."""


def _trials(folder, name="image/k_vrh/none/fold0/seed0", identity="one"):
    return Trials(name, LIMITS, OWN, folder / "journal.log", identity)


def _score(values, report):
    """Distance from the best settings; told in two steps."""
    distance = abs(math.log10(values["head_learning_rate"] / BEST["head_learning_rate"])) + abs(
        values["dropout"] - BEST["dropout"]
    )
    for step in range(2):
        report(step, distance)
    return distance


def _told(trials):
    return [(trial.params, trial.value, trial.state) for trial in trials]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return _told(_trials(tmp_path_factory.mktemp("whole")).run(_score, N))


def test_first_trial_has_the_own_settings(undisturbed):
    assert undisturbed[0][0] == OWN


def test_values_are_inside_the_ranges_and_batch_sizes_whole(undisturbed):
    for params, _, _ in undisturbed:
        assert all(low <= params[name] <= high for name, (low, high) in LIMITS.items())
        assert isinstance(params["batch_size"], int)
    assert len({params["dropout"] for params, _, _ in undisturbed}) == N


def test_trials_that_are_worse_than_most_are_given_up_and_the_best_is_not(undisturbed):
    given_up = [params for params, _, state in undisturbed if state == TrialState.PRUNED]
    assert 0 < len(given_up) < N - 5
    distance = [_score(params, lambda step, value: None) for params, _, _ in undisturbed]
    best = undisturbed[distance.index(min(distance))]
    assert best[2] == TrialState.COMPLETE


@pytest.mark.parametrize("kill_at", [1, 2, 5, 11, 14])
def test_search_that_is_killed_goes_on_as_if_it_had_not_been(tmp_path, undisturbed, kill_at):
    def score(values, report):
        score.calls += 1
        if score.calls == kill_at:
            report(0, 0.0)
            raise Killed
        return _score(values, report)

    score.calls = 0
    with pytest.raises(Killed):
        _trials(tmp_path).run(score, N)
    assert _told(_trials(tmp_path).run(score, N)) == undisturbed
    assert score.calls == N + 1


def test_search_that_is_killed_in_every_trial_ends_the_same(tmp_path, undisturbed):
    def killed(values, report):
        raise Killed

    for n in range(1, N + 1):
        with pytest.raises(Killed):
            _trials(tmp_path).run(killed, N)
        _trials(tmp_path).run(_score, n)
    assert _told(_trials(tmp_path).run(killed, N)) == undisturbed  # nothing is left to do


def test_more_trials_go_on_from_those_that_are_there(tmp_path, undisturbed):
    assert _told(_trials(tmp_path).run(_score, 6)) == undisturbed[:6]
    assert _told(_trials(tmp_path).run(_score, N)) == undisturbed
    assert _told(_trials(tmp_path).run(_score, 4)) == undisturbed[:4]


def test_other_series_are_tried_with_other_values(tmp_path, undisturbed):
    other = _told(_trials(tmp_path, name="image/k_vrh/none/fold1/seed0").run(_score, 3))
    assert all(one[0] != another[0] for one, another in zip(other[1:], undisturbed[1:3], strict=True))


def test_scores_of_other_data_are_left_alone(tmp_path, undisturbed):
    _trials(tmp_path, identity="other").run(lambda values, report: 1.0, 3)
    assert _told(_trials(tmp_path).run(_score, N)) == undisturbed


def test_diverged_trials_are_given_up(tmp_path):
    def score(values, report):
        if values["head_learning_rate"] > 1e-4:
            raise DivergedError("the loss is nan")
        return values["dropout"]

    states = [(trial.params["head_learning_rate"] > 1e-4, trial.state) for trial in _trials(tmp_path).run(score, 8)]
    assert {state for diverged, state in states if diverged} == {TrialState.PRUNED}
    assert {state for diverged, state in states if not diverged} == {TrialState.COMPLETE}


def test_half_a_line_at_the_end_of_the_journal_does_no_harm(tmp_path, undisturbed):
    _trials(tmp_path).run(_score, 4)
    with (tmp_path / "journal.log").open("a") as file:
        file.write('{"op_code":5,"worker_id":"ha')
    assert _told(_trials(tmp_path).run(_score, N)) == undisturbed


def test_whole_journal_stays_as_it_is(tmp_path):
    journal = tmp_path / "journal.log"
    mend(journal)
    assert not journal.exists()
    journal.write_text("a\nb\n")
    mend(journal)
    assert journal.read_text() == "a\nb\n"
