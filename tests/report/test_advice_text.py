import shlex

from synthetic import TITLE, record, repeats

from benchmark.core import plugins
from benchmark.records.comparison import comparisons
from benchmark.report.advice_text import MOST_IN_FULL, text
from benchmark.report.advise import Question, advise

HARD = repeats("hard", [0.49, 0.50, 0.51], total=500)
RECORDS = [
    *HARD,
    *repeats("lpqld[k=2,budget=1000]", [0.69, 0.70, 0.71], total=1000),
    *repeats("ld", [0.70, 0.68, 0.69], total=700),
    *repeats("lpqld[k=2,budget=9000]", [0.79, 0.80, 0.81], total=9000),
    *repeats("soft", [0.89, 0.90, 0.91], total=90_000),
]
PRIOR = repeats("hello", [0.69, 0.70, 0.71], total=900, prior="embedded")


def told(records, budget="1000", **changes):
    question = Question("digits", budget, **changes)
    return text(advise(comparisons(records), question), question)


def command_in(printed):
    """The options of the only command that is printed."""
    (words,) = [part.partition("\n\n")[0] for part in printed.split("python -m benchmark run")[1:]]
    words = [word for word in shlex.split(words) if word.strip()]
    return dict(zip(words[::2], words[1::2], strict=True))


def test_an_answer_in_full_by_hand():
    """The gaps to ld are 1, -2 and -2 points: -1 on average, s = sqrt(3), t(2) = 4.303."""
    printed = told(RECORDS)
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[0] == f"ADVICE | {TITLE}, rded images"
    assert lines[3:6] == [
        "take lpqld[k=2,budget=1000] 70.00 2.48 3 1,000 -",
        "not told apart from it ld 69.00 2.48 3 700 -1.00 ± 4.30",
        "more bytes: better lpqld[k=2,budget=9000] 80.00 2.48 3 9,000 +10.00 ± 0.00",
    ]
    assert lines[6:10] == [
        "Its repeats: 1 draw of the images, 3 seeds of the student.",
        "Fewest bytes of what is not told apart: ld (700 B).",
        "Shown to be worse within the bytes: hard.",
        "Measured at more than 1,000 B only: soft (90,000 B).",
    ]
    assert lines[10].startswith("Never measured here: expert, ")
    assert "given (needs given.path), " in lines[10]
    assert "corrected for all pairs of the comparison" in lines[-1]


def test_the_command_measures_what_was_not_beside_the_best():
    given = command_in(told([*RECORDS, *repeats("expert", [0.9] * 3, total=2000)], "1 kB"))
    methods = given.pop("--methods").split(",", 2)
    assert methods[:2] == ["lpqld[k=2]", "expert"]  # the best at its full bytes; what was larger
    open_ = {"hello", "ld_rr", "transform"}
    assert open_ <= set(methods[2].split(","))
    assert not {"given", "hard", "soft", "ld"} & set(methods[2].split(","))
    assert given == {
        "--dataset": "digits",
        "--images": "rded",
        "--ipc": "10",
        "--students": "convnet-d3",
        "--recipe": "quick",
        "--teacher": "resnet18",
        "--seeds": "3",
        "--budget": "1kB",
        "--precision": "fp32",
        "--device": "cuda",
    }


def test_the_command_names_draws_and_what_was_set_for_all():
    records = [
        record(f"ld (epochs={epochs})", accuracy=0.5, images=f"rded[draw={draw}]", total=500)
        for epochs in (1, 2)
        for draw in (10, 9, 0)
    ]
    for one in records:
        one["inputs"]["set"] = {"teacher.epochs": "5", "ld.epochs": "2", "rded.factor": "2"}
    printed = told(records)
    given = command_in(printed)
    assert given["--images"] == "rded[draw=0],rded[draw=9],rded[draw=10]"
    assert given["--methods"].split(",")[0] == "ld[epochs=1]"
    assert "--set teacher.epochs=5" in printed
    assert "--set rded.factor=2" in printed
    assert "ld.epochs" not in printed


def test_a_prior_is_shown_with_its_bytes_or_ruled_out():
    for one in PRIOR:
        one["storage"]["prior"] = 7_400_000
    assert "embedded (7,400,000 B)" in told([*HARD, *PRIOR])
    printed = told([*HARD, *PRIOR], without_prior=True)
    assert "Ruled out, since a prior is needed: hello." in printed
    assert "embedded" not in printed
    assert "prior  " not in printed.splitlines()[1]


def test_few_repeats_are_said_to_be_few():
    printed = told(repeats("hard", [0.5]))
    assert "n too small" in printed
    assert "1 draw of the images, 1 seed of the student, too few to say how sure" in printed


def test_several_answers_stand_in_a_table_the_first_in_full():
    others = [
        one for ipc in (1, 2, 5) for one in repeats("hard", [0.3, 0.31, 0.32], ipc=ipc, total=500)
    ]
    large = repeats("soft", [0.9, 0.9, 0.9], ipc=50, total=90_000)
    priors = repeats("hello", [0.9, 0.9, 0.9], ipc=20, total=900, prior="embedded")
    printed = told([*RECORDS, *others, *large, *priors], without_prior=True)
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[0] == (
        "ADVICE | digits, without a prior, at most 1000 B, images rded, student convnet-d3, "
        "recipe quick, teacher resnet18 (95.00%), world NVIDIA Test, torch 1.0, fp32"
    )
    assert lines[1] == "IPC take accuracy % ± n bytes not told apart better from"
    assert lines[3] == "10 lpqld[k=2,budget=1000] 70.00 2.48 3 1,000 1 9,000 B"
    assert lines[7:9] == ["20 all need a prior -", "50 nothing fits 90,000 B"]
    assert printed.count("Its repeats") == MOST_IN_FULL
    assert f"The first {MOST_IN_FULL} of 6 answers are given in full" in printed


def test_an_answer_where_nothing_fits_says_so():
    large = repeats("soft", [0.9, 0.9, 0.9], ipc=50, total=90_000)
    priors = repeats("hello", [0.9, 0.9, 0.9], ipc=20, total=900, prior="embedded")
    printed = told([*HARD, *large, *priors], without_prior=True)
    assert (
        "Nothing that was measured here fits in 1,000 B; the smallest is soft (90,000 B)" in printed
    )
    assert "All that was measured here needs a prior." in printed


def test_all_methods_that_need_a_file_are_named_with_their_option():
    printed = told(RECORDS)
    for name, plugin in plugins.found(plugins.METHODS).items():
        if option := plugin.literal("required", ""):
            assert f"{name} (needs {name}.{option})" in printed
