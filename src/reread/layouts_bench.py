"""What a layout costs: the same forms in every layout of tasks/layouts.py, read and asked as `reread ask` does.

A row per layout and form, in a run folder.  A prompt that several layouts give is answered once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reread.config import at_least, each_once, to_dict
from reread.documents.loaders import source_of
from reread.documents.text import one_line
from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.models import load, locate
from reread.options import MAX_NEW_TOKENS, POLICY
from reread.pace import Tell
from reread.prompting import cut
from reread.runlog import Run
from reread.tasks.layouts import LAYOUTS, PLAIN, lines_of, written_forms

KIND = "layouts"


@dataclass(frozen=True)
class LayoutsBench:
    """model: as `ask` takes it; layouts: of LAYOUTS in tasks/layouts.py; forms: how many, `lines` lines each, one of
    them asked; batch: prompts that are answered together."""

    model: str = "small-jrt"
    layouts: tuple[str, ...] = tuple(LAYOUTS)
    forms: int = 60
    lines: int = 8
    seed: int = 0
    batch: int = 16

    def check(self) -> None:
        """Raise for an unknown name or an impossible number before anything is loaded."""
        each_once(self, "layouts")
        for name in self.layouts:
            if name not in LAYOUTS:
                raise UnknownName("layout", name, LAYOUTS)
        if PLAIN not in self.layouts:
            raise BadInput(
                "every layout is compared with plain text", got=", ".join(self.layouts), todo=f"add {PLAIN!r}"
            )
        at_least(self, 1, "forms", "lines", "batch")


def measure_layouts(config: LayoutsBench, out: Path, *, progress: Tell = lambda *_: None) -> Run:
    """Ask every form in every layout; a stopped run goes on, layout by layout.  Raises as `load`."""
    config.check()
    locate(config.model)
    Run.check(out, KIND, to_dict(config))
    reader = Reader(load(config.model))
    samples = written_forms(config.forms, config.lines, config.seed)
    answered: dict[tuple[str, str], str] = {}
    with Run.start(out, KIND, {**to_dict(config), "fingerprint": reader.lm.model.fingerprint}, resume=True) as run:
        if run.done:
            return run
        seen = {(row["layout"], row["form"]) for row in run.rows()}
        for number, name in enumerate(config.layouts):
            progress(name, number, len(config.layouts))
            layout, asked = LAYOUTS[name], []
            for sample in samples:
                source = source_of(layout.write(lines_of(sample)), layout.name)
                question = layout.ask(sample.question)
                budget = reader.budget("once", question)
                shown = cut(source.text, reader.lm.tokenizer, budget, "head")
                asked.append((sample, source.text, reader.show(shown, question)))
            todo = {
                (one.prompt.text, one.stop): one for _, _, one in asked if (one.prompt.text, one.stop) not in answered
            }
            prompts, stop = [one.encoded for one in todo.values()], asked[0][2].stop
            found = reader.answer(prompts, policy=POLICY, stop=stop, max_new_tokens=MAX_NEW_TOKENS, batch=config.batch)
            answered |= {key: answer.text for key, answer in zip(todo, found, strict=True)}
            for sample, text, one in asked:
                if (name, sample.id) in seen:
                    continue
                (value,) = sample.answers
                prediction = answered[one.prompt.text, one.stop]
                run.append(
                    {
                        "layout": name,
                        "form": sample.id,
                        "question": layout.ask(sample.question),
                        "prediction": prediction,
                        "answer": value,
                        "exact": float(one_line(prediction) == value),
                        "on_one_line": f"{sample.question}: {value}" in map(one_line, text.split("\n")),
                    }
                )
        run.finish({"rows": config.forms * len(config.layouts)})
        return run
