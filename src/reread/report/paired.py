"""Two ways of reading compared question by question, and means over tasks.

A difference stands with its n, its 95 % paired bootstrap interval over documents, wins, losses,
ties and the p of a sign test over documents.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence

from reread.report.cells import CELL, COMPARED, Record, cells_of, compared, documents, documents_of, mean_of, named
from reread.stats import mean_of_means, sign_test

MEAN_OF_TASKS = "mean of tasks"


def pairs(before: Iterable[Record], after: Iterable[Record]) -> list[tuple[Record, float]]:
    """The rows of `after` that `before` has too, each with what it gained in `contains`."""
    known = {(row["id"], row["question"]): row["contains"] for row in before}
    both = [row for row in after if (row["id"], row["question"]) in known]
    return [(row, row["contains"] - known[(row["id"], row["question"])]) for row in both]


def counts(paired: Sequence[tuple[Record, float]]) -> Record:
    """n and documents of a comparison; questions won, lost and tied."""
    gains = [gain for _, gain in paired]
    return {
        "n": len(gains),
        "documents": documents(row for row, _ in paired),
        "wins": sum(gain > 0 for gain in gains),
        "losses": sum(gain < 0 for gain in gains),
        "ties": sum(gain == 0 for gain in gains),
    }


def compare(paired: Sequence[tuple[Record, float]]) -> Record:
    """Mean gain with its interval over documents, wins, losses, ties, and p.

    p: sign test over documents, since questions of one document are no independent samples; a
    document counts for the side that answers more of its questions, and for neither at a tie.
    """
    by_document: dict[Hashable, float] = {}
    for row, gain in paired:
        by_document[row["document"]] = by_document.get(row["document"], 0.0) + gain
    up, down = (sum(sign * total > 0 for total in by_document.values()) for sign in (1, -1))
    gains = [gain for _, gain in paired]
    return {
        **counts(paired),
        "contains": mean_of(gains, [row for row, _ in paired], worst=-1.0),
        "p": sign_test(up, down),
    }


def differences(rows: Iterable[Record]) -> list[Record]:
    """`contains` of two cells that differ in one of COMPARED alone, sample by sample.

    `against` names what is taken away: the model, strategy, policy or selection that the rows name first.  Samples
    that only one of the two has do not count.
    """
    cells = cells_of(rows)
    if not cells:
        return []
    first = next(iter(cells))
    records = []
    for what in COMPARED:
        place = CELL.index(what)
        for key, cell in cells.items():
            before = cells.get((*key[:place], first[place], *key[place + 1 :]))
            if key[place] == first[place] or before is None:
                continue
            if paired := pairs(before, cell):
                records.append({**named(key), "differs": what, "against": first[place], **compare(paired)})
    return records


def template_folders(cells: Iterable[tuple]) -> dict[tuple, str | None]:
    """Of every cell, what sets its templates apart from the other templates of the same task.

    Tasks have templates of their own ("field", "published/squad"): only where one task was measured
    with several is there a choice to keep apart, by the folder of their names ("published", "").
    """
    found: dict[tuple, set[str | None]] = {}
    for key in cells:
        found.setdefault(key[:-1], set()).add(key[-1])
    several = any(len(names) > 1 for names in found.values())
    return {key: (key[-1] or "").rpartition("/")[0] if several else None for key in cells}


def shared_tasks(rows: Iterable[Record], leave_out: Collection[str] = ()) -> list[tuple[Record, dict[tuple, dict]]]:
    """Per (window, budget, templates) the cells whose mean over tasks is a fair one.

    [(named, {values of COMPARED: {task: rows}})], all of the same tasks, in one order: those that all of
    those values there were measured on, without those of `leave_out`.  Fewer than two
    tasks, or a task with two templates of one folder, give none.
    """
    cells = cells_of(rows)
    folder = template_folders(cells)
    places: dict[tuple, dict[tuple, dict[str, list]]] = {}
    mixed = set()
    for key, cell in cells.items():
        about = dict(zip(CELL, key, strict=True))
        task, place = about["task"], (about["window"], about["budget"], folder[key])
        by_task = places.setdefault(place, {}).setdefault(compared(cell[0]), {})
        if task in by_task:
            mixed.add(place)
        by_task[task] = cell
    found = []
    for place, members in places.items():
        tasks = [
            t for t in next(iter(members.values())) if t not in leave_out and all(t in m for m in members.values())
        ]
        if len(tasks) < 2 or place in mixed:
            continue
        name = {"window": place[0], "budget": place[1]} | ({} if place[2] is None else {"templates": place[2] or "own"})
        found.append((name, {who: {task: member[task] for task in tasks} for who, member in members.items()}))
    return found


def task_means(rows: Iterable[Record], leave_out: Collection[str] = ()) -> list[Record]:
    """The mean over tasks of all values of COMPARED, per window and budget; see `shared_tasks`."""
    records = []
    for name, members in shared_tasks(rows, leave_out):
        for who, by_task in members.items():
            whole = [row for cell in by_task.values() for row in cell]
            model, *rest = who
            records.append(
                {
                    "model": model,
                    "task": MEAN_OF_TASKS,
                    **named(rest, COMPARED[1:]),
                    **name,
                    "tasks": list(by_task),
                    "n": len(whole),
                    "documents": sum(documents(cell) for cell in by_task.values()),
                    "contains": mean_of_means(
                        [([row["contains"] for row in cell], documents_of(cell)) for cell in by_task.values()]
                    ).record(),
                }
            )
    return records


def mean_differences(rows: Sequence[Record], leave_out: Collection[str] = ()) -> list[Record]:
    """As `differences`, of the means over tasks; without p, since tasks of many documents would outvote the others."""
    if not rows:
        return []
    first = compared(rows[0])
    records = []
    for place, what in enumerate(COMPARED):
        for name, members in shared_tasks(rows, leave_out):
            for who, by_task in members.items():
                base = members.get((*who[:place], first[place], *who[place + 1 :]))
                if who[place] == first[place] or base is None:
                    continue
                paired = [pairs(base[task], by_task[task]) for task in by_task]
                if not all(paired):
                    continue
                record = {
                    **named(who, COMPARED),
                    "task": MEAN_OF_TASKS,
                    **name,
                    "tasks": list(by_task),
                }
                parts = [([gain for _, gain in part], documents_of(row for row, _ in part)) for part in paired]
                gain = mean_of_means(parts, worst=-1.0).record()
                record |= {"differs": what, "against": first[place], **counts([p for part in paired for p in part])}
                records.append({**record, "contains": gain, "p": None})
    return records
