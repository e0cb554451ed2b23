"""Laboratory reports."""

# fmt: off
from __future__ import annotations

from reread.training.office.record import Record, Section, Table
from reread.training.office.record import fact as f
from reread.training.office.values import Values

TESTS = {
    "body": (
        ("sodium", "mmol/l"), ("potassium", "mmol/l"), ("glucose", "mg/dl"), ("haemoglobin", "g/dl"),
        ("ferritin", "µg/l"),
        ("creatinine", "µmol/l"), ("calcium", "mmol/l"), ("vitamin D", "nmol/l"), ("urea", "mmol/l"),
        ("albumin", "g/l"),
        ("bilirubin", "µmol/l"), ("cholesterol", "mg/dl"), ("uric acid", "mg/dl"), ("magnesium", "mmol/l"),
    ),
    "food": (
        ("fat", "g/100 g"), ("protein", "g/100 g"), ("ash", "%"), ("moisture", "%"), ("crude fibre", "%"),
        ("total germ count", "CFU/g"), ("sugar", "g/100 g"), ("lead", "µg/kg"), ("cadmium", "µg/kg"),
        ("salt", "g/100 g"),
        ("histamine", "mg/kg"), ("acid number", "mg/g"), ("yeasts", "CFU/g"), ("nitrate", "mg/kg"),
    ),
    "site": (
        ("lead", "mg/kg"), ("nitrate", "mg/l"), ("chloride", "mg/l"), ("zinc", "mg/kg"), ("cadmium", "mg/kg"),
        ("arsenic", "µg/l"), ("iron", "mg/l"), ("copper", "mg/l"), ("sulphate", "mg/l"), ("manganese", "mg/l"),
        ("phosphate", "mg/l"), ("nickel", "µg/l"), ("ammonium", "mg/l"), ("dry matter", "%"), ("boron", "mg/kg"),
    ),
}  # fmt: skip
SAMPLES = {
    "body": ("blood serum", "urine", "plasma", "whole blood", "venous blood"),
    "food": ("olive oil", "goat cheese", "wheat flour", "honey", "fish feed", "fruit juice", "smoked ham", "oat drink"),
    "site": ("drinking water", "soil", "wall paint", "sewage sludge", "pool water", "dust", "compost", "river water"),
}  # fmt: skip


def laboratory(v: Values, size: int) -> Record:
    lab = f"{v.coined()} {v.pick(('Laboratories', 'Analytics', 'Testing', 'Diagnostics', 'Lab Services'))}"
    client = v.person() if v.chance(0.4) else v.firm()
    group = v.pick(list(TESTS))
    sample = v.pick(SAMPLES[group])
    count = v.whole(2, max(2, min(12, size // 70)))
    tests = v.some(TESTS[group], count + 2)
    rows = []
    for name, unit in tests[:count]:
        found, low = v.whole(5, 900) / 10, v.whole(1, 50)
        limit = f"{low} - {low + v.whole(10, 90)} {unit}" if v.chance(0.5) else f"< {v.whole(20, 100)} {unit}"
        rows.append((name, f"{found:.1f} {unit}", limit, v.pick(("ICP-MS", "titration", "photometry", "HPLC",
            "ISO 11885", "ELISA", "gravimetry", "EN 12014", "ISO 7393", "AAS"))))
    table = Table(v.pick(("Results", "Test results", "Analysis", "Findings")), v.pick((("Parameter", "Result",
        "Reference", "Method"), ("Test", "Value", "Normal range", "Procedure"), ("Analyte", "Found", "Limit",
        "Technique"))), tuple(rows),
                  {1: "What was the result for {row}?|How much {row} was found?|"
                      "What level of {row} did the lab measure?", 2: "What is the reference range for {row}?|"
                      "Which limit applies to {row}?", 3: "By which method was {row} determined?|"
                      "How was {row} measured?"},
                  "For {0}, {1} was found (reference {2}, by {3}).", tuple(name for name, _ in tests[count:]))
    head = (
        f("number", v.code("19-99999|L1999/99|R-Y-9999|LAB199999|P19/999"), "Report number|Report no.|Lab number|"
            "Report ID|Test report", "What number does the report have?|Which report is this?",
            "This is report {v}.|The report has the number {v}.", kept=True),
        f("lab", lab, "Laboratory|Testing laboratory|Lab|Performed by", "Which laboratory did the tests?|"
            "Who analysed the sample?", "The tests were done by {v}.|{v} analysed the sample.", kept=True),
        f("client", client, "Client|Ordered by|Customer|Requested by", "Who ordered the tests?|"
            "For whom was the sample analysed?", "The tests were ordered by {v}.|The client is {v}.", kept=True),
        f("sample", sample, "Sample|Sample type|Material|Matrix|Specimen", "What was analysed?|"
            "What kind of sample was it?", "The sample was {v}.|We received a sample of {v}."),
        f("sample_id", v.code("S-19999|19/99-A|A1999999|PR199"), "Sample ID|Sample no.|Sample code|Lab code",
            "What is the code of the sample?|Under which ID was the sample kept?",
            "It was marked {v}.|The sample carries the code {v}.", v.code("S-19999|PR199")),
        f("taken", v.date(-30, -15), "Sampling date|Date of sampling|Collected|Sample taken on",
            "When was the sample taken?|On which day was it collected, not received?",
            "The sample was taken on {v}.|It was collected on {v}.", v.date(-60, -40)),
        f("received", v.date(-14, -9), "Received|Date received|Sample received on|Date of receipt",
            "When did the sample arrive?|On what day did {lab} receive it?", "It arrived on {v}.|"
            "We received it on {v}."),
        f("reported", v.date(-1, 3), "Report date|Reported|Date of report|Issued on",
            "When was the report issued?|What is the date of the report, not of the sample?",
            "The report was issued on {v}.|We report as of {v}."),
        f("tested", v.date(-8, -2), "Date of analysis|Tested on|Analysis date|Analysed",
            "When was the analysis done?|On which day were the tests run?", "The analysis was done on {v}.|"
            "It was tested on {v}."),
        f("place", v.town(), "Place of sampling|Sampling point|Collected at|Origin",
            "Where was the sample taken?|From which place does it come?", "It was taken in {v}.|"
            "The sample comes from {v}."),
        f("sampler", v.person(), "Sampled by|Sampler|Collected by", "Who took the sample?|Which person collected it?",
            "{v} took the sample.|It was collected by {v}.", v.person()),
    )  # fmt: skip
    tail = (
        f("amount", v.pick((v.measure(20, 900, "ml"), v.measure(20, 900, "g"), v.measure(1, 5, "litres", 1))),
            "Sample amount|Quantity|Amount received", "How much material was received?|How large was the sample?",
            "We received {v}.|The amount was {v}."),
        f("temp", v.measure(2, 22, "°C", 1), "Temperature on receipt|Temperature on arrival|Sample temperature",
            "How warm was the sample on arrival?|What was its temperature on receipt?",
            "On arrival it had {v}.|The temperature on receipt was {v}."),
        f("container", v.pick(("brown glass bottle", "EDTA tube", "sealed plastic bag", "sterile cup", "screw-top jar",
            "aluminium can", "paper sack")), "Container|Vessel|Packing", "In what was the sample sent?|"
            "Which container was used?", "It came in a {v}.|The container was a {v}."),
        f("analyst", v.person(), "Analyst|Tested by|Analysed by|Technician", "Who did the analysis?|"
            "Which person carried out the tests?", "{v} did the analysis.|The analyst was {v}."),
        f("signed", v.person(), "Authorised by|Approved by|Head of laboratory|Released by",
            "Who released the report?|Who signed for the lab?", "The report was released by {v}.|"
            "{v} is head of the laboratory."),
        f("verdict", v.pick(("meets the requirements", "does not meet the requirements", "within limits",
            "limits exceeded", "fit for use", "not fit for consumption", "repeat test advised",
                "no abnormal findings")),
            "Assessment|Conclusion|Verdict|Result overall", "What is the overall assessment?|"
            "What does the lab conclude?", "Overall assessment: {v}.|Our conclusion: {v}."),
        f("accreditation", v.code("D-PL-19999|UKAS 1999|LAB-199|NO. 1999-C"), "Accreditation|Accreditation no.|"
            "Accredited under", "Under which number is {lab} accredited?|What is the lab's accreditation number?",
            "{lab} is accredited under {v}.|Our accreditation has the number {v}."),
        f("kept", v.span(2, 26, "weeks"), "Sample kept for|Retention time|Storage of sample",
            "How long is the rest of the sample kept?|After what time is the sample thrown away?",
            "The rest is kept for {v}.|We store samples for {v}."),
        f("price", v.money(30, 900), "Fee|Cost of analysis|Price", "What did the analysis cost?|"
            "How much does {client} pay for the tests?", "The analysis cost {v}.|The fee is {v}."),
    )  # fmt: skip
    titles = (
        "{lab}\nTest report {number}|Laboratory report {number}|REPORT {number}: {sample}|{lab} – Report {number}|"
        "Analysis of {sample} for {client}|Test report no. {number}"
    )
    return Record("laboratory report", titles, {"sample": sample}, [Section(v.pick(("", "Sample", "Order")), head),
        table, Section(v.pick(("Remarks", "Further details", "")), tail)])
