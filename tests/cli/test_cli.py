import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import GRID, listing, run_main

from benchmark.api.measure import _ray
from benchmark.api.surroundings import Surroundings
from benchmark.core import plugins
from benchmark.core.errors import UserError

RESULTS = str(Path(__file__).parents[2] / "results" / "digits-quick.jsonl")


def start(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


# `--out file:///x` made a folder called `file:` here, and said that all was written.
@pytest.mark.parametrize(
    "words",
    [
        ("leaderboard", RESULTS, "--out"),
        ("leaderboard", RESULTS, "--paper"),
        ("labels", "export", "somewhere"),
        ("labels", "import", "somewhere", "else"),
        ("pull", "memory://given"),
    ],
    ids=" ".join,
)
def test_a_url_is_no_folder_to_write_to(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_main(*words, "file:///some/where")
    assert (code, out) == (2, "")
    assert "a folder of this machine, got 'file:///some/where'" in " ".join(err.split())
    assert not list(tmp_path.iterdir())


def test_a_second_method_that_was_forgotten_is_asked_for():
    code, _, err = run_main("compare", "lpqld", RESULTS)
    assert code == 2
    assert "name two methods first, and then records" in " ".join(err.split())


def test_where_nothing_is_published_the_answer_is_to_name_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (
        ["leaderboard"],
        ["compare", "hard", "soft"],
        ["advise", "--dataset", "digits", "--bytes", "4kB"],
    ):
        code, _, err = run_main(*words)
        assert code == 2
        assert "No records are named" in err, words


def test_cleaning_a_folder_that_is_not_there_is_refused(tmp_path):
    code, out, err = run_main("clean", "--work", tmp_path / "rusn")
    assert (code, out) == (2, "")
    assert f"There is no folder '{tmp_path / 'rusn'}'" in err


def test_ctrl_c_while_the_command_line_is_imported_leaves_no_traceback():
    code = """
import sys
class Interrupts:
    def find_spec(self, name, *rest):
        if name == "benchmark.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
from benchmark.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


def test_help_starts_at_once():
    """That is, it imports none of what takes long."""
    command = [sys.executable, "-X", "importtime", "-m", "benchmark", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    heavy = {"torch", "numpy", "pandas", "scipy", "matplotlib", "pyarrow", "sklearn"}
    assert not heavy & imported
    commands = "run profile list check leaderboard compare advise verify collect ship"
    assert {*commands.split()} <= set(done.stdout.split())


LIGHT = [
    ["--help"],
    ["run", "--help"],
    ["profile", "--help"],
    ["list"],
    ["leaderboard", "nowhere"],
    ["leaderboard", RESULTS],
    ["compare", "lpqld", "rded/soft", RESULTS],
    ["compare", "lpqd", "soft", RESULTS],
    ["advise", "--dataset", "digits", "--bytes", "4kB", "--records", RESULTS],
    ["verify", RESULTS],
    ["collect", RESULTS, "--to", "nowhere.json"],
    ["collect", RESULTS, "--push", "no-name"],
    ["leaderboard", "hf:no-name"],
    ["leaderboard", "memory://nowhere.jsonl"],
    ["run", "--methods", "x"],
]
# One process imports the command line, and forks a child for each command.
EACH = """
import json, os, sys
from benchmark.__main__ import main
import benchmark.cli.app

for place, words in json.loads(sys.argv[1]):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        continue
    os.chdir(place)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv, code = ["labelbench", *words], None
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    with open(f"{place}.json", "w") as file:
        json.dump([code or 0, "torch" in sys.modules], file)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def light(tmp_path_factory) -> list[Path]:
    """Where each command was run; beside it its exit code, and whether torch was there."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    folders = [tmp_path_factory.mktemp("light") for _ in LIGHT]
    each = json.dumps([[str(f), words] for f, words in zip(folders, LIGHT, strict=True)])
    done = subprocess.run([sys.executable, "-c", EACH, each], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return folders


@pytest.mark.parametrize("number", range(len(LIGHT)), ids=[" ".join(words) for words in LIGHT])
def test_without_torch(light, number):
    folder = light[number]
    code, torch_was_imported = json.loads(folder.with_name(f"{folder.name}.json").read_text())
    assert not torch_was_imported
    assert code in (0, 2)
    assert list(folder.iterdir()) == []


def test_list_names_what_there_is():
    code, out, _ = run_main("list")
    assert code == 0
    for name in ("lpqld", "digits", "rded", "resnet18", "rded", "quick"):
        assert f"\n  {name} " in out
    assert "Hard labels: " in out
    assert "\n  quick        The quick start: 8x8 digits on a laptop.\n" in out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("quick", "50 epochs, batch 50, adamw 0.005, cutmix, kl at T=20"),
        ("ld", "1000 steps, batch 50, adamw 0.001 constant, none, kl at T=1, steps chosen on"),
        ("ld-ridge", "steps chosen on held-out images, ridge evaluator"),
        ("ld", "deviation: There 20 repeats are counted"),
        ("lpqld", "\n  keep: number = 0.1\n"),
        ("rded", "\n  factor: whole number = 1\n"),
        ("hello", "cite: Heavy Labels Out!"),
    ],
)
def test_list_shows_one_with_its_options(name, words):
    code, out, _ = run_main("list", name)
    assert code == 0
    assert words in out


def test_list_of_what_is_not_there():
    code, _, err = run_main("list", "lpqd")
    assert code == 2
    assert "Unknown plugin 'lpqd'. Did you mean 'lpqld'" in err


def test_a_users_error_is_one_line_and_exit_code_2(tmp_path):
    done = start("run", "--methods", "lpqd", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    meant = "'lpqld' or 'ld' or 'ladd'"
    assert done.stderr.startswith(f"error: Unknown method 'lpqd'. Did you mean {meant}?")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


BAD = [
    ("--dataset digits:5", "Dataset 'digits' takes nothing after a colon, got '5'"),
    ("--methods lpqd", "Unknown method 'lpqd'. Did you mean 'lpqld' or 'ld' or 'ladd'? Valid: "),
    ("--methods lpqld[k", "'lpqld[k' is no method: write NAME or NAME[option=value,...]"),
    ("--methods lpqld[k]", "'k' is no option; write option=value"),
    ("--methods lpqld[kk=3]", "Unknown option of lpqld 'kk'. Did you mean 'k'"),
    ("--methods lpqld[k=many]", "lpqld.k must be a whole number, got 'many'"),
    (
        "--methods lpqld[k=11]",
        "lpqld.k is 11; with quantise=mr, 10 of 10 logits known, valid: 1 to 10",
    ),
    ("--methods lpqld[keep=2]", "keep and mass must be shares above 0 and at most 1, got 2.0"),
    ("--methods teacher[weights=fp8]", "Unknown value of teacher.weights 'fp8'"),
    ("--methods ,", "The grid names no methods"),
    ("--dataset digit", "Unknown dataset 'digit'. Did you mean 'digits'?"),
    ("--dataset parquet:nowhere", "parquet:nowhere names no folder"),
    ("--students resnt18", "Unknown network 'resnt18'. Did you mean 'resnet18'"),
    ("--students timm:resnt18", "Unknown timm model 'resnt18'. Did you mean 'resnet18'"),
    ("--students convnet-d4", "at least 16 pixels a side, not 8"),
    ("--recipe quick1", "Unknown recipe 'quick1'. Did you mean 'quick'? Valid: "),
    ("--images randm", "Unknown image source 'randm'. Did you mean 'random' or 'refined'? Valid: "),
    ("--images path:nowhere", "'nowhere' names no distilled images"),
    ("--teacher resnet19", "Unknown network 'resnet19'. Did you mean"),
    ("--teacher resnet18:absent.safetensors", "There is no teacher file 'absent.safetensors'"),
    ("--teacher timm:resnt18", "Unknown timm model 'resnt18'. Did you mean 'resnet18'"),
    ("--teacher convnet-d4", "at least 16 pixels a side, not 8"),
    ("--set lpqld=3", "--set takes NAME.OPTION=VALUE, got 'lpqld=3'"),
    ("--set lpqld.k", "--set takes NAME.OPTION=VALUE, got 'lpqld.k'"),
    ("--set lpqd.k=3", "Unknown name to set options of 'lpqd'. Did you mean 'lpqld'"),
    ("--set lpqld.kk=3", "Unknown option of lpqld 'kk'. Did you mean 'k'"),
    ("--methods hard --set lpqld.kk=3", "Unknown option of lpqld 'kk'. Did you mean 'k'"),
    ("--set rded.factr=2", "Unknown option of rded 'factr'. Did you mean 'factor'?"),
    ("--set recipe.epoch=3", "Unknown option of recipe 'epoch'. Did you mean 'epochs'?"),
    ("--set recipe.epochs=0", "epochs and batch_size must be at least 1, got 0"),
    ("--set recipe.objective.temp=3", "Unknown option of recipe.objective 'temp'. Did you mean"),
    ("--set teacher.epoch=3", "Unknown option of teacher 'epoch'. Did you mean 'epochs'?"),
    ("--ipc 0", "grid.ipc.0 must be at least 1, got 0"),
    ("--ipc 1,-1", "grid.ipc.1 must be at least 1, got -1"),
    ("--ipc ten", "grid.ipc.0 must be a whole number, got 'ten'"),
    ("--ipc 141", "IPC 141 needs 141 images of class 'eight', but the training set has 139"),
    ("--seeds 0", "grid.seeds must be at least 1, got 0"),
    ("--seeds 100000000", "grid.seeds must be at most 1,000,000, got 100000000"),
    ("--methods lpqld[k=1000000000]", "lpqld.k is 1000000000; with quantise=mr, 10 of 10"),
    ("--methods lpqld[k=99999999999999999999]", "lpqld.k must be a whole number of 64 bits"),
    ("--methods lpqld[keep=nan]", "lpqld.keep must be finite, got 'nan'"),
    ("--set recipe.lr=inf", "recipe.lr must be finite, got 'inf'"),
    ("--budget 100", "lpqld cannot meet a budget of 100 bytes: the least it can take is"),
    ("--budget 900x", "lpqld cannot meet a budget of 0 bytes"),
    ("--budget much", "The budget 'much' is neither a number of bytes nor a ratio like 40x"),
    ("--methods smoothed --budget 2x", "smoothed has no setting that changes its size"),
    ("--config nowhere.toml", "'nowhere.toml'. Valid: "),
    ("--config misspelt.toml", "Unknown key of misspelt.toml 'studnets'. Did you mean 'students'"),
    ("--config broken.toml", "'broken.toml' is no TOML file"),
    ("--dataset cifar10", "needs a data root: pass --data-root PATH or set LABELBENCH_DATA"),
    ("--dataset cifar10 --data-root empty", "'cifar10' is not in the data root 'empty': put"),
    ("--dataset cifar10 --data-root nowhere", "The data root 'nowhere' is not a folder"),
    ("--address head:6379", "--address head:6379 is a Ray cluster's: add --executor ray"),
    ("--shard 2/2", "--shard takes I/N with 0 <= I < N, got '2/2'"),
    (
        "--plugin nowhere.py",
        "--plugin takes a Python file, or a folder with __init__.py; 'nowhere.py' is none",
    ),
]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder to stand in, with a few wrong files and no data root."""
    (tmp_path / "misspelt.toml").write_text('dataset = "digits"\nstudnets = ["resnet18"]\n')
    (tmp_path / "broken.toml").write_text("dataset = ")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABELBENCH_DATA", raising=False)
    monkeypatch.setattr(plugins, "_added", {})
    return tmp_path


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_bad_input_changes_nothing(place, arguments, message):
    before = listing(place)
    code, out, err = run_main("run", *GRID, "--methods", "hard,lpqld", *arguments.split())
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert code == 2
    assert listing(place) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_a_device_that_is_not_there(place):
    code, _, err = run_main("run", *GRID, "--device", "cuda")
    assert (code, err) == (2, "error: Device 'cuda' is not available here. Valid: auto, cpu.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --device gpu", "auto"),
        ("run --method hard", "--methods"),
        ("rn", "run"),
        ("run --work broken.toml", "--work"),
        ("ship", "record"),
    ],
)
def test_what_the_command_line_itself_refuses(place, arguments, message):
    before = listing(place)
    code, _, err = run_main(*arguments.split())
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert listing(place) == before


def test_checks_say_what_to_mend(place):
    assert run_main("check", "hrad")[0] == 2
    code, out, _ = run_main("check", "smoothed")
    assert code == 0
    assert out.endswith("smoothed keeps the contract.\n")
    assert "FAILED" not in out
    (place / "halved.py").write_text(
        "from benchmark.methods.hard import Hard\n\n\nclass Halved(Hard):\n"
        "    def targets(self, *a):\n        return super().targets(*a) / 2\n"
    )
    code, out, _ = run_main("check", "halved", "--plugin", "halved.py")
    assert code == 1
    assert "FAILED Targets are finite float32 (B, C), and probabilities if they say so" in out
    assert "do not sum to 1 (sums from 0.500 to 0.500)" in out
    assert out.endswith("halved: 1 checks failed.\n")


def test_a_device_is_named_as_torch_names_it(place):
    code, _, err = run_main("run", *GRID, "--device", "gpu")
    assert code == 2
    assert err == "error: Unknown device 'gpu'. Valid: auto, cpu, cuda, cuda:N, xpu, xpu:N, mps.\n"
    with pytest.raises(UserError, match="take --device cuda, not cuda:1"):
        _ray(Surroundings(device="cuda:1", executor="ray"))
    with pytest.raises(UserError, match="--executor ray has its own: leave out --jobs 2"):
        _ray(Surroundings(jobs="2", executor="ray"))
