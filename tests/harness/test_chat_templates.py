"""lm-eval's --apply_chat_template: a model's own template is used; a model without one is refused in one sentence."""

import json

import pytest

from reread.errors import BadCheckpoint, BadInput, UnknownName
from reread.harness import RereadLM
from reread.training.tokenizer import CONFIG

TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<|mask|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|mask|>assistant\n{% endif %}"
)
ASKED = [{"role": "user", "content": "Colour?"}]
ROW = {"text": "Colour: red\nPanel: Chemistry", "key": "panel", "value": "Chemistry", "doc_id": "1"}


@pytest.fixture
def chat(model_folder):
    """chat(template): a model in a folder whose tokenizer_config.json has that template."""

    def make(template):
        with open(f"{model_folder}/tokenizer_config.json", "w", encoding="utf-8") as file:
            json.dump({**CONFIG, "chat_template": template}, file)
        return RereadLM(model_folder)

    return make


def test_messages_are_written_as_the_template_says(chat):
    lm = chat(TEMPLATE)
    assert lm.chat_template(False) is None and lm.chat_template(True) == TEMPLATE
    assert lm.apply_chat_template(ASKED) == "<|mask|>user\nColour?<|end|>\n<|mask|>assistant\n"
    begun = [*ASKED, {"role": "assistant", "content": "It is"}]
    assert lm.apply_chat_template(begun, add_generation_prompt=False).endswith("<|mask|>assistant\nIt is")
    assert "/" not in lm.tokenizer_name and lm.tokenizer_name


def test_special_tokens_of_a_template_are_read_as_such_and_without_one_as_text(chat):
    lm = chat(TEMPLATE)
    mark = lm.lm.tokenizer.token_to_id("<|mask|>")
    assert mark not in lm._ids("<|mask|>user")
    text = lm.apply_chat_template(ASKED)
    assert lm._ids(text).count(mark) == 2


def test_a_template_is_chosen_by_its_name(chat):
    lm = chat([{"name": "default", "template": "A"}, {"name": "tools", "template": "B"}])
    assert lm.chat_template(True) == "A" and lm.chat_template("tools") == "B"
    with pytest.raises(UnknownName) as raised:
        lm.chat_template("tool")
    assert raised.value.got == "tool" and raised.value.allowed == "default, tools"


def test_a_conversation_that_the_template_refuses_is_one_sentence(chat):
    with pytest.raises(BadInput) as raised:
        chat(TEMPLATE).apply_chat_template([{"role": "system", "content": "x"}, *ASKED])
    assert raised.value.got == "messages of system, user"
    with pytest.raises(BadInput):
        chat("{{ messages[").apply_chat_template(ASKED)


@pytest.mark.parametrize("name", ["embedded", "small-causal"])
def test_a_model_without_a_template_is_refused(name):
    lm = RereadLM(name)
    for call in (lambda: lm.chat_template(True), lambda: lm.apply_chat_template(ASKED)):
        with pytest.raises(BadInput) as raised:
            call()
        assert raised.value.got == name


def test_a_folder_without_a_tokenizer_that_transformers_reads_is_refused(model_folder, tmp_path):
    lm = RereadLM(model_folder)
    (tmp_path / "tiny" / "tokenizer.json").write_text("{")
    with pytest.raises(BadCheckpoint):
        lm.chat_template(True)


def test_lm_eval_runs_a_task_with_the_template(chat, tmp_path):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from reread.harness import TASKS_FOLDER

    (tmp_path / "fda.jsonl").write_text(json.dumps(ROW) + "\n")
    manager = TaskManager(include_path=str(TASKS_FOLDER), include_defaults=False, metadata={"data": str(tmp_path)})
    found = simple_evaluate(
        chat(TEMPLATE), tasks=["reread_fda_once"], task_manager=manager, apply_chat_template=True, batch_size=1
    )
    (sample,) = found["samples"]["reread_fda_once"]
    assert sample["arguments"][0][0].startswith("<|mask|>user\nColour: red")


def test_an_argument_that_the_model_does_not_take_is_named():
    with pytest.raises(UnknownName) as raised:
        RereadLM("embedded", output_hidden_states=True)
    assert raised.value.got == "output_hidden_states" and "max_length" in raised.value.allowed
