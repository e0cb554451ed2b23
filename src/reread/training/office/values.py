"""Values of made documents: people, firms, places, dates, amounts, identifiers.  All are invented.

One `Values` belongs to one document: it keeps a style of dates, a currency and a country, and gives no name twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from random import Random
from typing import TypeVar

from reread.training.office import words as w

Item = TypeVar("Item")

DATE_STYLES: tuple[Callable[[date], str], ...] = (
    lambda d: f"{d.day} {w.MONTHS[d.month - 1]} {d.year}",
    lambda d: f"{d.day} {w.MONTHS[d.month - 1]} {d.year}",
    lambda d: f"{w.MONTHS[d.month - 1]} {d.day}, {d.year}",
    lambda d: f"{w.MONTHS[d.month - 1]} {d.day}, {d.year}",
    lambda d: f"{d.day:02d}.{d.month:02d}.{d.year}",
    lambda d: f"{d.day}.{d.month}.{d.year}",
    lambda d: d.isoformat(),
    lambda d: d.isoformat(),
    lambda d: f"{d.day:02d}/{d.month:02d}/{d.year}",
    lambda d: f"{d.month}/{d.day}/{d.year}",
    lambda d: f"{d.day} {w.MONTHS[d.month - 1][:3]} {d.year}",
    lambda d: f"{d.day:02d}-{w.MONTHS[d.month - 1][:3]}-{d.year}",
    lambda d: f"{w.WEEKDAYS[d.weekday()]}, {d.day} {w.MONTHS[d.month - 1]} {d.year}",
    lambda d: f"{w.WEEKDAYS[d.weekday()]} {d.day} {w.MONTHS[d.month - 1]} {d.year}",
    lambda d: f"{d.day}{ordinal(d.day)} {w.MONTHS[d.month - 1]} {d.year}",
    lambda d: f"{w.MONTHS[d.month - 1][:3]} {d.day}, {d.year}",
    lambda d: f"{d.year}/{d.month:02d}/{d.day:02d}",
    lambda d: f"{d.day}-{w.MONTHS[d.month - 1][:3]}-{d.year}",
    lambda d: f"{d.day}. {w.MONTHS[d.month - 1]} {d.year}",
)
CURRENCY_WORDS = ("pounds", "dollars", "euros", "francs", "crowns", "rupees")
CURRENCIES = (
    "EUR {a}", "{a} EUR", "€{a}", "{a} €", "£{a}", "GBP {a}", "${a}", "USD {a}", "${a}", "CHF {a}", "SEK {a}",
    "{a} kr", "PLN {a}", "CAD {a}", "AUD {a}", "₹{a}", "NOK {a}", "€ {a}", "NZ${a}", "JPY {a}", "Rs. {a}", "R {a}",
    "S${a}", "{a} pesos", "RM {a}", "{a} zł", "{a} Kč", "Fr. {a}",
    *(f"{{a}} {word}" for word in CURRENCY_WORDS),
)  # fmt: skip


def in_words(count: int) -> str:
    """A number from 0 to 99,999: in words below 100 and for full hundreds (below 10,000) and thousands ("forty-two",
    "six hundred", "twelve thousand"), else in digits."""
    if count < len(w.NUMBERS):
        return w.NUMBERS[count]
    if count < 100:
        tens, ones = divmod(count, 10)
        return w.TEENS[ones] if tens == 1 else w.TENS[tens] + (f"-{w.NUMBERS[ones]}" if ones else "")
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if count % size == 0 and count < 100 * size:
            return f"{in_words(count // size)} {name}"
    return f"{count:,}"


def ordinal(day: int) -> str:
    return "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


class Values:
    """Draws values for one document from a random.Random."""

    def __init__(self, random: Random):
        self.random = random
        self.given: set[str] = set()
        self.country = self.pick(w.COUNTRIES)
        self.date_style = self.pick(DATE_STYLES)
        self.currency = self.pick(CURRENCIES)
        self.comma = "," if self.chance(0.75) else ("." if "€" in self.currency or "kr" in self.currency else "")
        self.titles = self.chance(0.35)
        self.clock = random.randrange(4)
        self.today = date(2004, 1, 1) + timedelta(days=random.randrange(8400))

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self.random.random() * len(items))]

    def some(self, items: Sequence[Item], count: int) -> list[Item]:
        return self.random.sample(items, min(count, len(items)))

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.random.random() * (high - low + 1))

    def new(self, make: Callable[[], str]) -> str:
        """A value that this document does not have yet and that is no part of one."""
        for _ in range(50):
            value = make()
            low = value.lower()
            if not any(low in old or old in low for old in self.given):
                break
        self.given.add(value.lower())
        return value

    # names

    def surname(self) -> str:
        if self.chance(0.35):
            return self.pick(w.SURNAMES)
        return self.pick(w.SURNAME_STARTS) + self.pick(w.SURNAME_ENDS)

    def person(self, titled: bool | None = None) -> str:
        """A first and last name, new in this document, in some documents with a title."""

        def make() -> str:
            first, last = self.pick(w.FIRST_NAMES), self.surname()
            middle = f" {self.pick('ABCDEFGHJKLMNPRSTW')}." if self.chance(0.08) else ""
            if self.chance(0.04):
                last = f"{last}-{self.surname()}"
            title = self.title(first) if (self.titles if titled is None else titled) and self.chance(0.6) else ""
            return f"{title}{first}{middle} {last}"

        return self.new(make)

    def title(self, first: str) -> str:
        """A form of address that fits a first name."""
        own = ("Ms ", "Mrs ", "Ms. ") if first in w.WOMEN else ("Mr ", "Mr. ") if first in w.MEN else ()
        return self.pick((*w.TITLES, *own, *own))

    def coined(self) -> str:
        name = self.pick(w.COINED_STARTS) + self.pick(w.COINED_ENDS)
        return "Pelona" if name == "percent" else name.capitalize()

    def firm(self) -> str:
        def make() -> str:
            roll = self.random.random()
            if roll < 0.5:
                name = f"{self.coined()} {self.pick(w.SECTORS)}"
            elif roll < 0.65:
                return f"{self.surname()} & {self.pick(('Sons', 'Partners', 'Daughters', 'Co.', self.surname()))}"
            elif roll < 0.8:
                name = f"{self.surname()} {self.pick(w.SECTORS)}"
            else:
                name = f"{self.coined()}"
            return f"{name} {self.pick(w.FORMS)}"

        return self.new(make)

    def body(self) -> str:
        """A public body, school, club or foundation."""
        return self.new(lambda: fill_one(self.pick(w.BODIES), self.town_name(), self.surname()))

    def institute(self) -> str:
        return self.new(lambda: fill_one(self.pick(w.INSTITUTES), self.town_name(), self.surname()))

    def town_name(self) -> str:
        return (self.pick(w.TOWN_STARTS) + self.pick(w.TOWN_ENDS)).capitalize()

    def town(self) -> str:
        return self.new(self.town_name)

    def street(self) -> str:
        number = self.whole(1, 240)
        name = self.pick(w.TOWN_STARTS).capitalize()
        style = self.country[1]
        if style == "de":
            return f"{name}{self.pick(('straße', 'weg', 'gasse', 'allee', 'platz'))} {number}"
        if style == "fr":
            return f"{number}, {self.pick(('rue', 'avenue', 'boulevard', 'place'))} de {self.pick(('', 'la '))}{name}"
        if style == "south":
            return f"{self.pick(('Via', 'Calle', 'Rua', 'Viale'))} {name} {number}"
        if style == "north":
            return f"{name}{self.pick(('gatan', 'vägen', 'straat', 'laan', 'vej', 'katu'))} {number}"
        return f"{number} {self.town_name()} {self.pick(w.STREETS)}"

    def postcode(self) -> str:
        pattern = self.pick(self.country[2].split("|"))
        region = pattern[:2]
        if region in w.REGIONS:
            return f"{self.pick(w.REGIONS[region])}{self.digits(pattern[2:])}"
        return self.digits(pattern)

    def address(self) -> str:
        """A street address on one line."""

        def make() -> str:
            street, town, code = self.street(), self.town_name(), self.postcode()
            if self.country[1] in ("de", "fr", "south", "north"):
                text = f"{street}, {code} {town}"
            else:
                unit = f"{self.pick(('Unit', 'Suite', 'Flat'))} {self.whole(1, 60)}, " if self.chance(0.2) else ""
                text = f"{unit}{street}, {town} {code}" if self.chance(0.6) else f"{unit}{street}, {town}, {code}"
            return f"{text}, {self.country[0]}" if self.chance(0.3) else text

        return self.new(make)

    def room(self) -> str:
        return self.new(lambda: fill_one(self.pick(w.ROOMS), self.town_name(), str(self.whole(1, 480))))

    def host(self) -> str:
        return f"{self.coined().lower()}.{self.pick(('example.com', 'example.org', 'example.net'))}"

    def email(self, name: str = "", host: str = "") -> str:
        host = host or self.host()
        plain = "".join(c if c.isascii() else "" for c in name.lower() if c.isalpha() or c == " ").split()
        if len(plain) > 1:
            local = self.pick((f"{plain[-2]}.{plain[-1]}", f"{plain[-2][:1]}.{plain[-1]}", plain[-1]))
        else:
            local = self.pick(w.MAILBOXES)
        return f"{local}@{host}"

    def url(self) -> str:
        return self.new(lambda: f"https://{self.host()}/{self.pick(w.PATHS)}")

    def phone(self) -> str:
        """A telephone number of the document's country."""

        def make() -> str:
            pattern = self.pick(self.country[3].split("|"))
            return "".join(str(self.whole(sign == "n", 9)) if sign in "n#" else sign for sign in pattern)

        return self.new(make)

    # numbers

    def digits(self, pattern: str) -> str:
        """9 becomes a digit, 1 a digit from 1 to 9, A a capital letter, x a hexadecimal digit; other signs stay."""
        made = []
        for sign in pattern:
            if sign == "9":
                sign = str(self.whole(0, 9))
            elif sign == "1":
                sign = str(self.whole(1, 9))
            elif sign == "A":
                sign = self.pick("ABCDEFGHJKLMNPQRSTUVWXYZ")
            elif sign == "x":
                sign = self.pick("0123456789abcdef")
            made.append(sign)
        return "".join(made)

    def code(self, patterns: str) -> str:
        """A new identifier by one of the patterns, `|` between them; `Y` is the year."""
        year = str(self.today.year)
        return self.new(lambda: self.digits(self.pick(patterns.split("|")).replace("Y", "\0")).replace("\0", year))

    def number(self, low: int, high: int) -> str:
        return f"{self.whole(low, high):,}"

    def amount(self, cents: int, places: int = 2) -> str:
        """An amount of money in the document's currency, from cents."""
        text = f"{cents / 100:,.{places}f}"
        if self.comma == ".":
            text = text.translate(str.maketrans(",.", ".,"))
        elif not self.comma:
            text = text.replace(",", "")
        return self.currency.replace("{a}", text)

    def money(self, low: int, high: int, places: int | None = None) -> str:
        """A new amount of money between low and high units."""
        if places is None:
            places = 2 if high < 5000 else 0 if self.chance(0.5) else 2
        step = 100 if places == 0 else 5
        size = 1000 if high >= 10_000 else 100
        least, most = max(low // size, 1), min(high // size, 99 if size == 1000 else 19)
        unit = self.currency.removeprefix("{a} ")
        if unit in CURRENCY_WORDS and most - least > 8 and self.chance(0.3):
            return self.new(lambda: f"{in_words(self.whole(least, most) * size)} {unit}")
        return self.new(lambda: self.amount(self.whole(low * 100 // step, high * 100 // step) * step, places))

    def percent(self, low: int = 1, high: int = 40) -> str:
        share = f"{self.whole(low, high)}" if self.chance(0.6) else f"{self.whole(low * 10, high * 10) / 10}"
        return share + self.pick(("%", "%", " %"))

    def measure(self, low: float, high: float, unit: str, places: int = 0) -> str:
        value = low + self.random.random() * (high - low)
        return f"{value:,.{places}f} {unit}" if unit else f"{value:,.{places}f}"

    def span(self, low: int, high: int, unit: str) -> str:
        """A length of time or a count with its unit: "14 days"; `unit` is in the plural."""
        count = self.whole(low, high)
        if self.chance(0.25):
            return f"{in_words(count)} {unit if count != 1 else unit[:-1]}"
        return f"{count} {unit if count != 1 else unit[:-1]}"

    # time

    def day(self, low: int = 0, high: int = 60) -> date:
        """A day between `low` and `high` days after the document's own day."""
        return self.today + timedelta(days=self.whole(low, high))

    def date(self, low: int = 0, high: int = 60) -> str:
        return self.new(lambda: self.date_style(self.day(low, high)))

    def month(self, low: int = -900, high: int = 0) -> str:
        day = self.day(low, high)
        return f"{w.MONTHS[day.month - 1]} {day.year}"

    def time(self, low: int = 7, high: int = 20) -> str:
        hour, minute = self.whole(low, high), self.pick((0, 0, 15, 30, 30, 45, 10, 20))
        if self.clock == 0:
            half = "a.m." if hour < 12 else "p.m."
            return f"{(hour - 1) % 12 + 1}:{minute:02d} {half}"
        if self.clock == 1:
            return f"{(hour - 1) % 12 + 1}:{minute:02d} {'AM' if hour < 12 else 'PM'}"
        return f"{hour:02d}:{minute:02d}" if self.clock == 2 else f"{hour}.{minute:02d}"

    def hours(self) -> str:
        return f"{self.time(7, 11)} {self.pick(('to', '-', 'until'))} {self.time(15, 21)}"

    # things

    def thing(self) -> str:
        """An article for sale, new in this document: "galvanised hinge M8"."""

        def make() -> str:
            name = f"{self.pick(w.MATERIALS)} {self.pick(w.THINGS)}"
            if self.chance(0.35):
                name += (
                    f" {self.digits(self.pick(('19 mm', 'M1', '1.9 m', '199 ml', 'A9', 'size 1', '19 cm', 'AA-199')))}"
                )
            return name[0].upper() + name[1:] if self.chance(0.6) else name

        return self.new(make)

    def brand(self) -> str:
        """A product name: "Torvane 340" """

        def make() -> str:
            tail = self.digits(self.pick(("199", "A1", "1", "Pro", "1900", "AA-19", "Mini", "1A", "Plus", "XL", "Duo")))
            return f"{self.coined()} {tail}"

        return self.new(make)

    def identifier(self) -> str:
        """The name of a program package: "velmark-parse"."""
        return self.new(lambda: f"{self.coined().lower()}{self.pick(('-', '_', '-'))}{self.pick(w.PACKAGE_WORDS)}")

    def version(self) -> str:
        return self.new(lambda: f"{self.whole(0, 9)}.{self.whole(0, 30)}.{self.whole(0, 20)}")

    def from_list(self, items: Sequence[str]) -> str:
        return self.new(lambda: self.pick(items))


def fill_one(pattern: str, place: str, name: str) -> str:
    return pattern.replace("{p}", place).replace("{n}", name)
