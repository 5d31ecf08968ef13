import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import DESCRIBED

from benchmark.labels import artefact
from benchmark.labels.packing import unpack
from benchmark.methods.lpqld import coding as coding_module
from benchmark.methods.lpqld.coding import BITS, CodedLabels, CodedWriter, Coding

FORMS = ["mr", "ms", "adaptive", "smoothing", "hard", "none"]
VALUES = ["fp16", "bf16", "int8", "int4"]
KEPT = {"mr": 3, "ms": 3, "adaptive": 0, "smoothing": 1, "hard": 1, "none": 11}
CPU = torch.device("cpu")


def coding_of(form, values="fp16", classes=11, mass=0.8, temperature=4.0):
    k = classes if form == "none" else KEPT[form]
    return Coding(classes, form, k, values, mass, temperature)


def teachers_logits(labels=29, classes=11):
    """As relabelling gives them: fp16, some labels sure of themselves and some not."""
    generator = torch.Generator().manual_seed(classes)
    sureness = torch.linspace(0.5, 8, labels)[:, None]
    return (sureness * torch.randn(labels, classes, generator=generator)).half()


def coded(coding, logits, scratch):
    """The labels as they lie on disk, given in batches of seven."""
    scratch.mkdir(exist_ok=True)
    writer = CodedWriter(coding, scratch)
    for batch in logits.split(7):
        writer.add(batch)
    return writer.labels()


def shipped(labels, folder):
    """The labels from an artefact."""
    folder.mkdir()
    artefact.write(folder, DESCRIBED, labels.tensors())
    return CodedLabels(labels.coding, artefact.read(folder).tensors)


def targets(labels, temperature, rows=slice(0, 29)):
    return F.softmax(labels.logits(rows, CPU) / temperature, 1)


def reference(coding, row):
    """The target of one label at the recipe's temperature, after FKD's definitions."""
    order = sorted(range(coding.classes), key=lambda c: -row[c])

    def shares(classes, temperature=coding.temperature):
        powers = {c: math.exp((row[c] - row[order[0]]) / temperature) for c in classes}
        return {c: power / sum(powers.values()) for c, power in powers.items()}

    if coding.form == "hard":
        found = {order[0]: 1.0}
    elif coding.form in ("ms", "smoothing"):
        everything = shares(order)
        kept = {c: everything[c] for c in order[: coding.k]}
        rest = (1 - sum(kept.values())) / (coding.classes - coding.k)
        found = {c: kept.get(c, rest) for c in order}
    elif coding.form == "adaptive":
        sure = shares(order, 1.0)
        reached = itertools.accumulate(sure[c] for c in order)
        found = shares(order[: 1 + next(i for i, m in enumerate(reached) if m >= coding.mass)])
    else:
        found = shares(order[: coding.k])
    return [found.get(c, 0.0) for c in range(coding.classes)]


# How far a stored logit may be off, as a share of the label's range of logits.
ROUNDING = {"fp16": 2**-11, "bf16": 2**-8, "int8": 0.501 / 255, "int4": 0.501 / 15}


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("form", FORMS)
def test_targets_by_brute_force(form, values, tmp_path):
    coding, logits = coding_of(form, values), teachers_logits()
    labels = shipped(coded(coding, logits, tmp_path / "scratch"), tmp_path / "saved")
    for found, row in zip(targets(labels, coding.temperature), logits.tolist(), strict=True):
        expected = torch.tensor(reference(coding, row))
        off = 2 * ROUNDING[values] * (max(row) - min(row)) / coding.temperature
        assert (found > 0).equal(expected > 0)
        assert ((found - expected).abs() <= expected * math.expm1(off) + 1e-6).all()


@pytest.mark.parametrize("temperature", [1.0, 2.35, 20.0])
def test_fp16_keeps_the_largest_logits_to_the_bit(temperature, tmp_path):
    logits = teachers_logits(29, 200)
    labels = shipped(coded(coding_of("mr", classes=200), logits, tmp_path), tmp_path / "saved")
    kept = logits.float().topk(3, 1)
    restored = labels.logits(slice(0, 29), CPU)
    assert restored.gather(1, kept.indices).equal(kept.values)
    assert restored.isfinite().sum(1).tolist() == [3] * 29
    subset = F.softmax(kept.values / temperature, 1)  # the released code's restoration
    expected = torch.zeros(29, 200).scatter_(1, kept.indices, subset)
    assert torch.allclose(targets(labels, temperature), expected, rtol=3e-7, atol=0)


def test_all_logits_to_the_bit(tmp_path):
    logits = teachers_logits()
    labels = coded(coding_of("none"), logits, tmp_path)
    assert labels.logits(slice(0, 29), CPU).equal(logits.float())
    assert labels.parts.keys() == {"values"}


@pytest.mark.parametrize("temperature", [0.5, 4.0, 20.0])
@pytest.mark.parametrize("form", ["ms", "smoothing"])
def test_smoothing_at_other_temperatures(form, temperature, tmp_path):
    # The dropped classes share as if they were alike; the kept ones stay in proportion.
    coding, logits = coding_of(form), teachers_logits()
    found = targets(coded(coding, logits, tmp_path), temperature)
    kept = logits.float().topk(coding.k, 1)
    for row, probabilities in enumerate(found):
        mass = probabilities[kept.indices[row]]
        alike = F.softmax(kept.values[row] / temperature, 0)
        assert torch.allclose(mass / mass.sum(), alike, rtol=0.02)
        rest = probabilities.clone()
        rest[kept.indices[row]] = 0
        assert len(rest[rest > 0].unique()) == 1
        assert (rest > 0).sum() == coding.classes - coding.k


@pytest.mark.parametrize("mass", [0.3, 0.8, 0.99])
def test_adaptive_keeps_the_fewest_that_reach_the_mass(mass, tmp_path):
    logits = teachers_logits(29, 200)
    labels = coded(coding_of("adaptive", classes=200, mass=mass), logits, tmp_path)
    counts = labels.logits(slice(0, 29), CPU).isfinite().sum(1).tolist()
    sure = logits.double().softmax(1).sort(1, descending=True).values.cumsum(1)
    for count, reached in zip(counts, sure.tolist(), strict=True):
        assert reached[count - 1] >= mass - 1e-6
        assert count == 1 or reached[count - 2] < mass + 1e-6
    assert len(set(counts)) > 3


def test_adaptive_up_to_every_class(tmp_path):
    flat = torch.zeros(3, 8).half()
    everything = coded(coding_of("adaptive", classes=8, mass=1.0), flat, tmp_path / "a")
    assert targets(everything, 1.0, slice(0, 3)).unique().tolist() == [1 / 8]
    one = coded(coding_of("adaptive", classes=8, mass=0.1), flat, tmp_path / "b")
    assert (targets(one, 1.0, slice(0, 3)) == 1).sum(1).tolist() == [1, 1, 1]


def test_hard_is_the_largest_class_and_nothing_else(tmp_path):
    logits = teachers_logits()
    labels = coded(coding_of("hard"), logits, tmp_path)
    assert targets(labels, 20.0).equal(F.one_hot(logits.argmax(1), 11).float())
    assert labels.parts.keys() == {"indices"}


@pytest.mark.parametrize("values", ["int8", "int4"])
@pytest.mark.parametrize("form", ["mr", "ms", "adaptive", "none"])
def test_whole_numbers_are_within_half_a_step(form, values, tmp_path):
    coding, logits = coding_of(form, values), teachers_logits()
    found = coded(coding, logits, tmp_path).logits(slice(0, 29), CPU)
    exact = coded(replace(coding, values="fp16"), logits, tmp_path / "exact")
    exact = exact.logits(slice(0, 29), CPU)
    for row, expected in zip(found, exact, strict=True):
        assert row.isfinite().equal(expected.isfinite())
        kept = row.isfinite()
        if form != "ms":  # whose shift is known: the level of the dropped is 0
            row, expected = row - row.max(), expected - expected.max()
        span = expected[kept].max() - expected[kept].min()
        step = span / (2 ** BITS[values] - 1)
        assert ((row - expected)[kept].abs() <= 0.505 * step + 0.02 * (form == "ms")).all()


def test_labels_without_a_range(tmp_path):
    # A scale of zero would divide zero by zero.
    flat = torch.full((4, 11), 3.0).half()
    for form, values in itertools.product(FORMS, ["int8", "int4"]):
        coding = coding_of(form, values, mass=0.5)
        found = targets(coded(coding, flat, tmp_path), 1.0, slice(0, 4))
        kept = 6 if form == "adaptive" else 11 if form in ("ms", "smoothing") else coding.k
        assert found.max(1).values.tolist() == pytest.approx([1 / kept] * 4, rel=1e-5)


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("form", FORMS)
def test_bytes_are_known_beforehand(form, values, tmp_path):
    coding, logits = coding_of(form, values, classes=200), teachers_logits(29, 200)
    labels = coded(coding, logits, tmp_path)
    parts = labels.parts
    kinds = {"values": "values", "scales": "values", "indices": "indices", "counts": "indices"}
    assert {blob.name: blob.kind for blob in labels.tensors()} == {n: kinds[n] for n in parts}
    found = sum(len(part[:]) * part.dtype.itemsize for part in (p.flat() for p in parts.values()))
    # Labels x kept logits, an index among 200 in 8 bits; then the scales.
    count = 29 * coding.k
    bits = {"fp16": 16, "bf16": 16, **BITS}[values]
    indices = 0 if form == "none" else count
    scales = 2 * 29 if values in BITS else 0
    if form == "hard":
        assert found == coding.bytes(29) == 29
    elif form == "adaptive":
        count = int(unpack(parts["counts"], 8, 0, 29).sum()) + 29
        assert found == 29 + count + math.ceil(count * bits / 8) + scales
    else:
        assert found == coding.bytes(29) == indices + math.ceil(count * bits / 8) + scales


@pytest.mark.parametrize("values", ["fp16", "int4"])
@pytest.mark.parametrize("form", FORMS)
def test_any_rows_from_disk_from_memory_and_from_an_artefact(form, values, tmp_path):
    logits = teachers_logits()
    stored = coded(coding_of(form, values), logits, tmp_path / "scratch")
    whole = stored.logits(slice(0, 29), CPU)
    memory = CodedLabels(stored.coding, {name: part[:] for name, part in stored.parts.items()})
    for labels in (stored, memory, shipped(stored, tmp_path / "saved")):
        for start, stop in ((0, 1), (3, 10), (13, 14), (22, 29), (28, 29)):
            assert labels.logits(slice(start, stop), CPU).equal(whole[start:stop])


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("form", ["mr", "adaptive", "hard"])
def test_unknown_classes_get_nothing(form, values, tmp_path):
    # Labels that others stored keep their largest logits only; the rest stands at -inf.
    logits = teachers_logits()
    kept = logits.float().topk(5, 1)
    known = torch.full_like(logits, -math.inf).scatter(1, kept.indices, kept.values.half())
    whole, part = coded(coding_of(form, values, mass=0.5), known, tmp_path), coding_of(form, values)
    assert whole.logits(slice(0, 29), CPU).isneginf().sum(1).min() >= 6
    found = targets(whole, 4.0)
    assert found.isfinite().all()
    assert (found[known.isneginf()] == 0).all()
    if form != "adaptive":  # whose share of the mass is that of the known
        assert found.equal(targets(coded(part, logits, tmp_path), 4.0))


@pytest.mark.parametrize("values", VALUES)
def test_all_known_mass_is_no_unknown_class(values, tmp_path):
    logits = teachers_logits(29, 200)
    logits[:, 7:] = -math.inf
    labels = coded(coding_of("adaptive", values, classes=200, mass=1.0), logits, tmp_path)
    found = targets(labels, 4.0)
    assert found.isfinite().all()
    assert (found[:, 7:] == 0).all()
    expected = logits.float().div(4).softmax(1)
    assert torch.allclose(found, expected, atol=0.3 if values == "int4" else 0.02)


@pytest.mark.parametrize("form", ["mr", "ms", "smoothing", "hard"])
@pytest.mark.parametrize("values", VALUES)
def test_labels_unpacked_once_are_those_unpacked_at_every_read(form, values, tmp_path):
    coding = coding_of(form, values)
    labels = shipped(coded(coding, teachers_logits(), tmp_path / "spool"), tmp_path / "artefact")
    rows = slice(5, 19)
    packed, packed_top = labels.logits(rows, CPU), labels.top(rows, CPU)
    whole = labels.to(CPU)
    assert whole.logits(rows, CPU).equal(packed)
    top = whole.top(rows, CPU)
    assert top.indices.equal(packed_top.indices)
    assert top.values.equal(packed_top.values)
    assert top.indices.dtype == torch.int64


def test_what_was_checked_is_not_unpacked_again(tmp_path, monkeypatch):
    labels = shipped(coded(coding_of("mr"), teachers_logits(), tmp_path / "s"), tmp_path / "a")
    whole = labels.logits(slice(0, 29), CPU)
    labels.check(29)
    monkeypatch.setattr(coding_module, "unpack", None)
    assert labels.to(CPU).logits(slice(0, 29), CPU).equal(whole)


def test_labels_too_large_to_be_unpacked_stay_packed(tmp_path, monkeypatch):
    monkeypatch.setattr(coding_module, "RESIDENT_BYTES", 100)
    labels = shipped(coded(coding_of("mr"), teachers_logits(), tmp_path / "s"), tmp_path / "a")
    before = labels.logits(slice(0, 29), CPU)
    after = labels.to(CPU)
    assert not after._unpacked
    assert after.logits(slice(0, 29), CPU).equal(before)


@pytest.mark.parametrize("form", ["mr", "ms", "smoothing", "hard"])
@pytest.mark.parametrize("factor", [0.05, 0.25, 1.0, 3.0])
def test_targets_of_kept_classes_are_those_of_all(form, factor, tmp_path):
    """Softmax, divergence and its gradient, and the cross-entropy on a grid of temperatures."""
    labels = coded(coding_of(form, "int8"), teachers_logits(), tmp_path / "spool")
    top = labels.top(slice(0, 29), CPU)
    dense = F.softmax(top.dense() * factor, 1)
    targets = top.targets(factor)
    torch.testing.assert_close(targets.dense(), dense)
    logits = torch.randn(29, 11, generator=torch.Generator().manual_seed(3), requires_grad=True)
    grid = F.log_softmax(logits.detach() / torch.tensor([0.1, 1.0])[:, None, None], 2)
    expected = -(dense * grid).sum(2)
    torch.testing.assert_close(targets.cross_entropy(grid), expected)
    found = targets.divergence(F.log_softmax(logits, 1))
    expected = F.kl_div(F.log_softmax(logits, 1), dense, reduction="batchmean")
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (found, expected))
    torch.testing.assert_close(ours, theirs)
