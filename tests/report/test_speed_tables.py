import pytest
from synthetic import world
from timed import file_of, profile, ratio
from tiny import run_main

from benchmark.report import columns, speed_tables, speeds
from benchmark.report.speed_tables import tables


def test_parts_are_medians_of_repeats_that_took_turns():
    found = speeds.profile(profile())
    assert found.ms == pytest.approx(
        {"bare step": 10.0, "rendering": 1.0, "labels": 0.7, "loss": 1.0}
    )
    assert (found.forward, found.backward, found.optimiser) == pytest.approx((3.0, 5.0, 2.0))
    assert (found.ratio, found.lowest, found.highest) == pytest.approx((1.2, 1.05, 1.3))
    assert found.labels == pytest.approx(200_000)  # 100 in half a millisecond
    assert (found.read, found.made) == pytest.approx((4e6, 8e6))
    assert found.test == pytest.approx(0.4)
    assert found.copies == pytest.approx({"host": 1e10})


def test_a_loss_that_is_no_slower_takes_nothing():
    made = profile()
    made["seconds"]["learning_step"] = [0.009, 0.009, 0.009]
    assert speeds.profile(made).ms["loss"] == 0.0


def test_ratios_are_paired():
    found = speeds.ratio(ratio())
    assert (found.lowest, found.ratio, found.highest) == pytest.approx((0.4, 0.45, 0.5))
    assert found.commits == "0123456789ab"
    other = ratio()
    other["second"] = {**other["second"], "environment": {"labelbench": "0.1", "commit": None}}
    assert speeds.ratio(other).commits == "0123456789ab / unknown"


def lines(*records):
    return [
        [" ".join(text.split()) for text in table.text().splitlines() if text[0] != "-"]
        for table in tables(records)
    ]


def test_the_terminal_shows_profiles_by_setting_and_ratios():
    slow = profile(method="hello")
    slow["seconds"] = {**slow["seconds"], "step": [0.05, 0.05, 0.06]}
    (first, second) = lines(ratio(), slow, profile())
    assert first[0] == (
        "PROFILE | digits, IPC 10, images rded, recipe quick, teacher resnet18, batch 100, "
        "Fast, 1 thread, torch 1.0, fp32, commit 0123456789ab"
    )
    names = ["method student", *(column.name for column in columns.PROFILE)]
    assert first[1] == " ".join(names)
    assert first[2] == (
        "lpqld convnet-d3 10 1 0.7 1 13 1.20 1.05..1.30 3 5 2 0.2 0.5 200,000 4 8 0.4 2.5 500"
    )
    assert first[3].startswith("hello convnet-d3 ")
    assert first[4] == (
        "Plain copies: within the host 10 GB/s. Peak memory: the resident set of the whole process."
    )
    assert second[2] == (
        "eight students of hello together / alone 0.45 0.4..0.5 550 ms 1.25 s 2 0123456789ab "
        "Fast, 1 thread, torch 1.0 students 8"
    )


def test_worlds_commits_and_precisions_stand_apart():
    made = [
        profile(),
        profile(precision="bf16"),
        profile(compiled=True),
        profile(world=world()),
        profile(environment={"labelbench": "0.1.0", "commit": None}),
    ]
    titles = [group.title for group in speed_tables.groups(made)]
    assert len(titles) == len(made)
    assert sum("bf16" in title for title in titles) == 1
    assert sum("compiled" in title for title in titles) == 1
    assert sum("NVIDIA Test" in title for title in titles) == 1
    assert sum("commit unknown" in title for title in titles) == 1


def test_a_gpus_copies_and_memory_are_told():
    made = profile(world=world(), memory={"bytes": 5, "of": "device"})
    made["copies"] = {
        name: {"size": 10**9, "seconds": [seconds] * 3}
        for name, seconds in (("host", 0.1), ("device", 0.001), ("host to device", 0.02))
    }
    (group,) = speed_tables.groups([made])
    assert group.about == (
        "Plain copies: within the host 10 GB/s, within the device 1,000 GB/s, from pinned memory "
        "to the device 50 GB/s. Peak memory: what was allocated on the device."
    )


def test_what_stores_no_labels_reads_none():
    made = profile(labels={"stored": 0.0, "targets": 4000})
    (table,) = tables([made])
    assert table.frame["stored MB/s"].tolist() == ["-"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(150.0, "150 s"), (2.5, "2.5 s"), (0.0123, "12.3 ms"), (5e-5, "50 us")]
)
def test_durations_have_the_unit_that_fits(seconds, text):
    assert columns.duration(seconds) == text


def test_leaderboard_shows_speed_records_alone(tmp_path):
    file = file_of(tmp_path, profile(), ratio(), {"kind": "other"})
    code, out, err = run_main("leaderboard", tmp_path, "--out", tmp_path / "out")
    assert code == 0
    assert "PROFILE | digits" in out
    assert "RATIOS | first side over second" in out
    assert f"left out {file}:3: Unknown kind of measurement 'other'" in err
    assert (tmp_path / "out" / "site" / "speed.html").is_file()
