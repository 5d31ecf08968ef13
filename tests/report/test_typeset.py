import pytest

from benchmark.report.typeset import SEAM, TALL, Column, blocks, broken, width_of


def names(*texts: str) -> list[Column]:
    return [Column("method", texts, left=True)]


def test_widths_are_those_of_the_type():
    # cmr8's digits are 4.25 points wide, cmbx8's 4.9.
    assert width_of("0123456789") == pytest.approx(42.5, abs=0.1)
    assert width_of("0123456789", bold=True) == pytest.approx(49.0, abs=0.1)
    assert width_of(f"a{SEAM}b") == width_of("ab")


def test_what_fits_is_one_table():
    (block,) = blocks(names("hard", "soft"), [Column("bytes", ["5", "6"])], 221)
    assert [column.column.heading for column in block.columns] == ["method", "bytes"]
    assert block.rows == range(2)
    assert not any(column.wraps for column in block.columns)


@pytest.mark.parametrize("width", [221, 345, 452])
def test_no_table_is_wider_than_its_place_and_none_loses_a_column(width):
    columns = [Column(f"{n} {'long' * (n % 3)} heading", [f"{10**n:,}"] * 3) for n in range(12)]
    made = blocks(names("a", "a method[with=options,more=of,them=all]", "b"), columns, width)
    assert len(made) > 1
    assert all(block.width <= width for block in made)
    assert {block.columns[0].column.heading for block in made} == {"method"}
    shown = [c.column for block in made for c in block.columns[1:]]
    assert shown == columns


def test_a_group_stays_together_where_it_can():
    columns = [Column("accuracy %", ["57.2±2.8"], group=f"IPC {at // 3}") for at in range(9)]
    made = blocks(names("Some method"), columns, 221)
    assert len(made) == 3
    for block in made:
        assert len({column.column.group for column in block.columns[1:]}) == 1


def test_names_break_into_lines_where_that_saves_a_table():
    long = "LPQLD 10x, calibrate=false, quantise=none, schedule=none"
    (block,) = blocks(names(long), [Column("a", ["1234567"])] * 5, 345)
    assert block.columns[0].wraps


def test_rows_beyond_a_page_go_on_in_another_table():
    count = 2 * TALL + 1
    made = blocks(names(*map(str, range(count))), [Column("n", ["1"] * count)], 221)
    assert [len(block.rows) for block in made] == [TALL, TALL, 1]


def test_words_break_behind_signs_and_else_anywhere():
    assert broken("a,b 1,000", 500) == f"a,{SEAM}b 1,000"
    assert broken("quantise=none", 40) == f"quantise={SEAM}none"
    pieces = broken("x" * 100, 50).split(SEAM)
    assert "".join(pieces) == "x" * 100
    assert all(width_of(piece) <= 50 for piece in pieces)


def test_only_bold_cells_count_as_bold():
    plain = blocks(names("a"), [Column("n", ["12345678"])], 221)[0].columns[1].width
    bold = blocks(names("a"), [Column("n", ["12345678"], bold=[0])], 221)[0].columns[1].width
    assert bold > plain
