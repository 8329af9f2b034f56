"""What the figures rest on: equal work, right answers, fair turns, and a table that tells what was measured."""

import sys
from importlib import import_module

import pytest

from routes.engine import Engine
from tests.bench import __main__ as bench
from tests.bench import environment, workload
from tests.bench.environment import python_of
from tests.bench.keywords import EXTRA, without_extra
from tests.bench.peers import PINNED
from tests.bench.report import Row, markdown
from tests.bench.timing import Fresh, race
from tests.bench.workload import NotHereError, Workload, answers_of, must_agree, shared_module
from tests.paths import shared

# --- The workload -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keywords", [0.0, 0.5])
def test_translated_rules_take_the_requests_that_the_plain_loop_takes(keywords):
    shared("bench")
    # Not the requests for which these rules were drawn, of which they take none; these say keywords as well.
    requests = shared_module("rules_workload").requests(40, seed=7)
    for number, request in enumerate(requests):
        request.prompt += " ".join(shared_module("rules_workload").WORDS[number::10])
    rules = Workload.of(400, "none", keywords=keywords).rules
    few = [Workload(rules[start : start + 8], requests) for start in range(0, len(rules), 8)]
    right = [each.answers_of_loop() for each in few]
    assert {-1, 0, 7} <= {answer for answers in right for answer in answers}
    assert [answers_of(Engine(each.routes()), each.contexts()) for each in few] == right


@pytest.mark.parametrize(("case", "answer"), [("none", -1), ("mid", 50), ("deep", -1)])
def test_a_case_says_which_rule_matches(case, answer):
    shared("bench")
    rules = Workload.of(100, case)
    assert rules.answers_of_loop() == [answer] * 16
    assert answers_of(Engine(rules.routes()), rules.contexts()) == [answer] * 16


@pytest.mark.parametrize("said", [0, 5])
def test_prompts_say_so_many_words_and_no_rule_matches(said):
    shared("bench")
    made = Workload.with_words(2_000, keywords=0.5, said=said)
    words = {word for rule in made.rules for word in rule.contains or ()}
    assert len(words) == 300
    assert all(not word.startswith("kw") for word in words)
    parts = [request.prompt.split(" ") for request in made.requests]
    assert [sum(part in words for part in each) for each in parts] == [said] * 16
    assert made.answers_of_loop() == [-1] * 16


def test_a_candidate_that_answers_something_else_is_not_raced():
    must_agree("Somebody", [1, -1], [1, -1])
    with pytest.raises(AssertionError, match="Somebody"):
        must_agree("Somebody", [1, 0], [1, -1])


def test_every_pinned_peer_has_an_adapter():
    shared("bench")
    assert PINNED.keys() <= shared_module("bench_rule_peers").PEERS.keys()


def test_a_shared_module_is_used_in_place_and_leaves_nothing_behind(monkeypatch, tmp_path):
    (tmp_path / "used_in_place.py").write_text("ANSWER = 42")
    monkeypatch.setattr(workload, "SHARED", tmp_path)
    assert shared_module("used_in_place").ANSWER == 42
    assert [path.name for path in tmp_path.iterdir()] == ["used_in_place.py"]
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize("name", ["not_there", "lacks_something"])
def test_what_is_not_here_is_said_by_name(monkeypatch, tmp_path, name):
    (tmp_path / "lacks_something.py").write_text("import what_nobody_has")
    monkeypatch.setattr(workload, "SHARED", tmp_path)
    with pytest.raises(NotHereError, match=name):
        shared_module(name)


def test_within_the_race_without_the_extra_it_cannot_be_imported():
    pytest.importorskip(EXTRA)
    with without_extra(), pytest.raises(ImportError):
        import_module(EXTRA)
    import_module(EXTRA)


# --- Environments -----------------------------------------------------------------------------------------------------


@pytest.fixture
def installs(monkeypatch, tmp_path):
    """The commands that make an environment, which are not run; those that name `nowhere` fail."""
    commands = []

    def fails(command):
        commands.append([str(word) for word in command])
        (tmp_path / "some").mkdir(exist_ok=True)
        return "it is not there" if "nowhere==1" in command else None

    monkeypatch.setattr(environment, "TOOLS", tmp_path)
    monkeypatch.setattr(environment, "_fails", fails)
    return commands


def test_an_environment_is_made_once_and_again_when_something_else_is_pinned(installs):
    assert python_of("some", ["one==1"]) == python_of("some", ["one==1"])
    assert len(installs) == 2
    python_of("some", ["one==2"])
    assert installs[3][-1] == "one==2"


def test_what_cannot_be_installed_keeps_the_others_not_away_and_is_tried_again(installs, capsys):
    for _ in range(2):
        python_of("some", ["nowhere==1", "one==1"])
    assert "not installed: nowhere==1" in capsys.readouterr().out
    assert [command[-1] for command in installs].count("one==1") == 4
    with pytest.raises(NotHereError, match="none of the some"):
        python_of("some", ["nowhere==1"])


# --- Timing -----------------------------------------------------------------------------------------------------------


class Clock:
    """Moves when told to."""

    def __init__(self):
        self.now = 0.0
        self.turns = []

    def __call__(self):
        return self.now

    def takes(self, name, *seconds):
        """A candidate whose calls take these times in turn, the last one from then on."""
        left = list(seconds)

        def call(*_):
            self.turns.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_a_race_gives_the_median_of_its_rounds_for_one_of_so_many_requests():
    clock = Clock()
    candidates = {"a": clock.takes("a", 8.0, 1.0, 4.0), "b": clock.takes("b", 6.0)}
    assert race(candidates, quick=True, per=2, clock=clock) == {"a": 2.0, "b": 3.0}


def test_candidates_take_turns():
    clock = Clock()
    race({"a": clock.takes("a", 1.0), "b": clock.takes("b", 1.0)}, quick=True, clock=clock)
    assert clock.turns == ["a", "b"] * 3


def test_a_fast_candidate_is_called_until_a_block_is_full():
    clock = Clock()
    took = race({"a": clock.takes("a", 0.003)}, quick=True, clock=clock)
    assert took["a"] == pytest.approx(0.003)
    assert len(clock.turns) > 3 * 3


def test_making_what_a_candidate_uses_is_not_timed():
    clock = Clock()
    made = []

    def make():
        clock.now += 100.0
        made.append(len(made))
        return made[-1]

    used = []

    def use(value):
        used.append(value)
        clock.now += 0.5

    assert race({"a": Fresh(make, use)}, quick=True, clock=clock) == {"a": 0.5}
    assert used == made == [0, 1, 2]


# --- The table --------------------------------------------------------------------------------------------------------

ROW = Row("decide", "<= 1 us", "0.70 us", "0.1x", "yes")


def test_a_row_arrives_as_it_was_sent():
    assert Row.of_line(ROW.line() + "\n") == ROW


@pytest.mark.parametrize("line", ["ROW\tdecide\t<= 1 us\n", ROW.line() + "\tmore\n"])
def test_a_row_of_another_number_of_fields_is_refused(line):
    with pytest.raises(ValueError, match="5 fields"):
        Row.of_line(line)


def test_other_lines_are_no_rows():
    assert Row.of_line("  ROW\tdecide") is None
    assert Row.of_line("\n") is None


def test_the_table_has_a_line_for_each_row_and_bars_do_not_break_it():
    assert markdown([ROW._replace(what="a|b")]).splitlines() == [
        "| what | goal | figure | ratio | held? |",
        "| --- | --- | --- | --- | --- |",
        r"| a\|b | <= 1 us | 0.70 us | 0.1x | yes |",
    ]


@pytest.fixture
def outcomes(monkeypatch, tmp_path):
    """By race, what `run` answers; the table goes to a folder of the test's own."""
    found = dict.fromkeys(bench.RACES, ([ROW], 0))
    monkeypatch.setattr(bench, "run", lambda name, _: found[name])
    monkeypatch.setattr(bench, "TABLE", tmp_path / "data" / "bench.md")
    monkeypatch.setattr(bench, "COVERAGE", tmp_path / "data" / "coverage.md")
    return found


def test_a_missed_goal_is_no_failure_and_stands_in_the_table(outcomes):
    outcomes["decide"] = ([ROW._replace(held="no")], 0)
    assert bench.main([]) == 0
    assert "| decide | <= 1 us | 0.70 us | 0.1x | no |" in bench.TABLE.read_text()


def test_a_race_that_fails_makes_the_run_fail_and_the_others_still_count(outcomes, capsys):
    outcomes["decide"] = ([], 1)
    assert bench.main([]) == 1
    assert "failed: decide" in capsys.readouterr().out
    assert bench.TABLE.read_text().count("| yes |") == len(bench.RACES) - 1


def test_a_run_of_some_races_leaves_the_table_as_it_was(outcomes):
    assert bench.main(["--only", "decide"]) == 0
    assert not bench.TABLE.exists()


def test_the_coverage_that_was_measured_before_is_shown_where_there_is_any(outcomes, capsys):
    bench.main([])
    assert "contain what is true" not in capsys.readouterr().out
    bench.COVERAGE.write_text("| a2000 | 94.6 |")
    bench.main([])
    assert "contain what is true, as measured before\n\n| a2000 | 94.6 |" in capsys.readouterr().out
    assert "a2000" not in bench.TABLE.read_text()


@pytest.mark.parametrize(
    ("source", "rows", "code"),
    [
        (f"print('so far'); print({ROW.line()!r})", [ROW], 0),
        (f"print({ROW.line()!r}); raise SystemExit(3)", [ROW], 3),
        (f"print({ROW.line()!r}); print('ROW', 'cut', sep=chr(9))", [ROW], 1),
    ],
)
def test_a_race_is_heard_through_its_output(monkeypatch, capsys, tmp_path, source, rows, code):
    for folder in ("tests", "tests/bench"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "tests" / "bench" / "one.py").write_text(source)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    assert bench.run("one", []) == (rows, code)
    assert "ROW\tdecide" not in capsys.readouterr().out


def test_every_race_can_be_found():
    for name in bench.RACES:
        import_module(f"tests.bench.{name}")
