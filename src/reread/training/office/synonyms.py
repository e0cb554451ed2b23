"""Other words for labels of facts: what people ask for and how documents put it are seldom the same.  Words only."""

from __future__ import annotations

# a label in small letters -> further labels of the same fact
SYNONYMS: dict[str, str] = {
    "amount due": "Payable amount|Sum owed|Outstanding sum|Total payable",
    "net amount": "Sum without tax|Value excluding tax|Taxable amount",
    "vat rate": "Percentage of tax|Tax percentage", "tax amount": "Tax charged|Tax in all",
    "freight": "Transport charge|Forwarding cost|Postage and packing",
    "due date": "Payable until|Final day for payment",
    "invoice date": "Billed on|Day of billing", "invoice number": "Number of the bill|Billing reference",
    "order number": "Order reference|Reference of the order", "customer number": "Client ID|Customer ID",
    "seller": "Selling party|Selling company", "supplier": "Supplying firm|Provider of the goods",
    "buyer": "Purchasing party|Buying party", "billing address": "Address for invoices|Where bills go",
    "delivery address": "Destination|Address for goods", "delivery date": "Day of delivery|Arrival of goods",
    "payment terms": "How to pay|Settlement terms", "quotation": "Offer reference",
    "carrier": "Forwarder|Transport company",
    "warranty": "Period of guarantee|Cover period", "landlord": "Lessor|Letting party|Owner who lets",
    "tenant": "Lessee|Renter|Person who rents", "rent": "Monthly rental|Rental per month",
    "deposit": "Security sum|Surety",
    "notice period": "Period of notice|Time for notice", "caretaker": "Janitor|Building attendant",
    "contractor": "Executing firm|Firm that does the work", "client": "Commissioning party|Principal",
    "signed on": "Date of signature|Day of signing",
    "manufacturer": "Producing firm|Builder of the device|Brand owner", "product": "Name of the article",
    "model": "Model name|Model designation", "weight": "Total weight|Mass in total",
    "dimensions": "Measurements|Size overall",
    "power consumption": "Wattage|Electric power", "supply voltage": "Voltage needed|Mains voltage",
    "operating temperature": "Temperature in use|Temperature in operation",
    "storage temperature": "Temperature when stored|Warehouse temperature", "protection class": "Ingress code",
    "housing": "Casing|Case material", "service life": "Durability|Life span", "noise level": "Loudness|Sound level",
    "country of origin": "Where made|Producing country", "cable length": "Length of the lead",
    "version": "Release number|Version number", "licence": "Terms of use|Licensing terms",
    "license": "Licence|Licensing terms",
    "author": "Writer|Creator", "maintainer": "Looked after by|Package keeper",
    "issues": "Issue tracker|Where to report faults|Ticket system", "homepage": "Web presence|Main web page",
    "documentation": "Manual on the web|Help pages", "requires-python": "Interpreter needed|Supported interpreter",
    "laboratory": "Testing body|Institute that tested", "ordered by": "Commissioned by|Party that ordered",
    "sampling date": "Sample drawn on|Day of sampling", "report number": "Report ID|Reference of the report",
    "sampler": "Person who took the sample", "analyst": "Tested by|Person who tested",
    "chair": "Chairperson|Meeting led by|Presiding person", "minutes": "Note taker|Recorded by|Record kept by",
    "apologies": "Absent with excuse", "place": "Venue|Location", "next meeting": "Date of the following meeting",
    "date of birth": "Birth date|Day of birth",
    "place of birth": "Native town|Birthplace",
    "occupation": "Work|What they do for a living", "signature": "Signatory|Signed by whom",
    "organiser": "Host|Run by|Arranged by", "admission": "Price of a ticket|Entrance charge",
    "doors": "Doors open at|Opening time",
    "speaker": "Talk given by|Lecturer", "severity": "Gravity|Seriousness", "cause": "Reason|What led to it",
    "root cause": "Underlying reason|What led to it", "service": "System concerned|Affected system",
    "reported by": "First noticed by|Person who reported it",
    "mayor": "Leader of the town", "architect": "Plans by|Author of the plans", "cost": "Expense|Money needed",
    "visitors": "Number of guests",
    "published": "Day of publication|Appeared on",
    "oven temperature": "Oven heat|Heat of the oven", "servings": "Number of people served|Portions in all",
    "cooking time": "Time on the stove|How long to cook", "sample size": "Number studied|How many were studied",
    "journal": "Periodical|Appeared in", "price": "What it costs|Purchase price", "colour": "Shade|Available shade",
    "subject": "Topic|What it is about", "sender": "Writer of the letter|Letter from",
    "recipient": "Addressee|Letter to",
}  # fmt: skip


def more(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels with other words for the first two of them that have any."""
    known = {label.lower() for label in labels}
    found = [SYNONYMS[label.lower()] for label in labels if label.lower() in SYNONYMS][:2]
    new = [word for words in found for word in words.split("|") if word.lower() not in known]
    return (*labels, *dict.fromkeys(new))
