from pnasnet.support.progress import counter, silent


def test_a_counter_reports_sums_from_the_first_item_on() -> None:
    seen: list[tuple[str, int, int | None]] = []
    advance = counter(lambda *state: seen.append(state), "rows", 10, done=4)
    advance(1)
    advance(5)
    assert seen == [("rows", 4, 10), ("rows", 5, 10), ("rows", 10, 10)]
    counter(silent, "rows", None)(3)
