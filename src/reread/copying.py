"""Answers word for word from the document: decoding that is restricted to its substrings, whatever their tokens.

A row may write what continues its words somewhere in the document, as whole words, or one of a few phrases such as
"not found".  The places where its words occur are kept, so a step takes time in proportion to their number, and the
first one in proportion to the document.  Any run of white space in the document is one blank.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from reread.prompting import decode

NOTHING = b""
BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")
BLANK = "\u2581"  # of SentencePiece
_TABLES: weakref.WeakKeyDictionary[Tokenizer, tuple[dict[bytes, list[int]], int]] = weakref.WeakKeyDictionary()
_BYTES: weakref.WeakKeyDictionary[Tokenizer, tuple[bytes, ...]] = weakref.WeakKeyDictionary()


def byte_letters() -> dict[str, int]:
    """The bytes that the letters of a byte-level BPE stand for: GPT-2's table ("bytes_to_unicode")."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + n): byte for n, byte in enumerate(others)}


def token_bytes(tokenizer: Tokenizer) -> tuple[bytes, ...]:
    """The bytes that each id adds to a text, nothing for special tokens; found once."""
    found = _BYTES.get(tokenizer)
    if found is None:
        special = {i for i, one in tokenizer.get_added_tokens_decoder().items() if one.special}
        letters = byte_letters() if "ByteLevel" in str(type(tokenizer.decoder)) + str(tokenizer.decoder) else None
        size = tokenizer.get_vocab_size()
        found = tuple(NOTHING if i in special else _bytes_of(tokenizer, i, letters) for i in range(size))
        _BYTES[tokenizer] = found
    return found


def token_table(tokenizer: Tokenizer) -> tuple[dict[bytes, list[int]], int]:
    """The ids of each token's bytes, without tokens of several blanks, and the length of the longest; found once."""
    found = _TABLES.get(tokenizer)
    if found is None:
        table: dict[bytes, list[int]] = {}
        for number, word in enumerate(token_bytes(tokenizer)):
            if word and b"  " not in word:
                table.setdefault(word, []).append(number)
        found = _TABLES[tokenizer] = table, max(map(len, table), default=0)
    return found


def _bytes_of(tokenizer: Tokenizer, number: int, letters: dict[str, int] | None) -> bytes:
    word = tokenizer.id_to_token(number) or ""
    if letters is not None and all(letter in letters for letter in word):
        return bytes(letters[letter] for letter in word)
    if byte := BYTE.match(word):
        return bytes([int(byte[1], 16)])
    if BLANK in word:
        return word.replace(BLANK, " ").encode()
    return decode([number], tokenizer).encode()


@dataclass
class Node:
    """Of a tree of tokens by their bytes: the ids that end here, and the longer tokens."""

    ids: list[int] = field(default_factory=list)
    next: dict[int, Node] = field(default_factory=dict)

    def add(self, word: bytes, number: int) -> None:
        node = self
        for byte in word:
            node = node.next.setdefault(byte, Node())
        node.ids.append(number)


@dataclass(frozen=True)
class Original:
    """What an answer is copied from: the text of a document, and phrases that may be written beside its words."""

    text: str
    phrases: tuple[str, ...] = ()


class Source:
    """A document that answers are copied from.

    ends: ids that end an answer; stop: the text for which they do, which may follow other text in a token;
    phrases: what may be written beside the document's words.
    """

    def __init__(self, text: str, tokenizer: Tokenizer, ends: Iterable[int], stop: str, phrases: Sequence[str] = ()):
        plain = re.sub(r"\s+", " ", text).strip()
        self.data, self.words = plain.encode("utf-8", "replace"), token_bytes(tokenizer)
        self.phrases = tuple(phrase.encode() for phrase in phrases)
        self.ends = {number: self._head(number, stop.encode()) for number in ends if number < len(self.words)}
        self.between = self._boundaries(plain)
        self.tree = self._tree(tokenizer)
        self.first = self._first()

    def _head(self, number: int, stop: bytes) -> bytes:
        """What an ending token writes before the end."""
        return self.words[number].split(stop)[0] if stop else NOTHING

    def _tree(self, tokenizer: Tokenizer) -> Node:
        """The tokens that occur in the document or a phrase, or after a blank at their beginning."""
        known, self.longest = token_table(tokenizer)
        texts = [b" " + data for data in (self.data, *self.phrases)]
        made = Node()
        for word in sorted(word for word in known if any(word in text for text in texts)):
            for number in known[word]:
                if number not in self.ends:
                    made.add(word, number)
        return made

    def _boundaries(self, text: str) -> bytearray:
        """Per byte of the document and its end, whether no word is cut there."""
        found, at, before = bytearray(len(self.data) + 1), 0, ""
        for letter in text:
            found[at] = not (_in_word(before) and _in_word(letter))
            at, before = at + len(letter.encode("utf-8", "replace")), letter
        found[at] = 1
        return found

    def _first(self) -> tuple[int, ...]:
        """Places at which an answer may begin."""
        return tuple(at for at, byte in enumerate(self.data) if self.between[at] and byte != ord(" "))

    def start(self) -> Copy:
        return Copy(self)


def _in_word(letter: str) -> bool:
    return bool(letter) and (letter.isalnum() or letter == "_")


class Copy:
    """One answer while it is written: the places behind its words in the document, and behind the phrases that it may
    still be."""

    def __init__(self, source: Source):
        self.source, self.fresh, self.begun = source, True, False  # begun: more than a blank is written
        self.places: Sequence[int] = source.first
        self.phrases = [(phrase, 0) for phrase in source.phrases]

    def ids(self) -> list[int]:
        """Tokens that may come next; never none."""
        source: Source = self.source
        found: set[int] = set()
        for places, data in self._texts():
            for at in places:
                self._walk(source.tree, data, at, found)
            if self.fresh and (blank := source.tree.next.get(ord(" "))):  # a blank before the answer
                found.update(blank.ids)
                for at in places:
                    self._walk(blank, data, at, found)
        ends = [number for number, head in source.ends.items() if self._may_end(head)]
        return sorted(found) + ends or list(source.ends)

    def _texts(self) -> list[tuple[Sequence[int], bytes]]:
        return [(self.places, self.source.data), *(((at,), phrase) for phrase, at in self.phrases)]

    def _walk(self, node: Node, data: bytes, at: int, found: set[int]) -> None:
        for byte in data[at : at + self.source.longest]:
            step = node.next.get(byte)
            if step is None:
                return
            node = step
            found.update(node.ids)

    def _may_end(self, head: bytes) -> bool:
        if not self.begun and not head.strip():
            return False
        places, phrases = self._after(head)
        return any(self.source.between[at] for at in places) or any(at == len(one) for one, at in phrases)

    def _after(self, word: bytes) -> tuple[Sequence[int], list[tuple[bytes, int]]]:
        way = word.removeprefix(b" ") if self.fresh else word
        data = self.source.data
        places = [at + len(way) for at in self.places if data.startswith(way, at)]
        phrases = [(one, at + len(way)) for one, at in self.phrases if one.startswith(way, at)]
        return places, phrases

    def add(self, token: int) -> None:
        """The token was written."""
        word = self.source.words[token]
        self.places, self.phrases = self._after(word)
        self.fresh, self.begun = False, self.begun or bool(word.strip())
