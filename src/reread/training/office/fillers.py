"""Sentences that state no value that is asked for: what stands in documents between the facts."""

from __future__ import annotations

from collections.abc import Iterator

from reread.training.office.values import Values

GREETINGS = ("Dear {first},", "Hi {first},", "Hello {first},", "Dear {name},", "Good morning {first},", "{first},")
CLOSINGS = (
    "Best regards,\n{name}", "Kind regards\n{name}", "Thanks,\n{first}", "Yours sincerely,\n{name}", "Best,\n{first}",
    "With kind regards,\n{name}", "Many thanks\n{first}", "Regards,\n{name}",
)  # fmt: skip
QUOTED = (
    "Hello,", "Please find our first version below.", "As discussed on the phone:", "Here is what we have so far.",
    "Could you check these details?", "This is the state of last week.", "Sending this again for your file.",
)  # fmt: skip
QUOTED_ENDS = (
    "Please confirm.", "Let me know if anything is wrong.", "Thanks in advance.", "We will correct it if needed.",
    "More to follow.", "I will be out of the office for a while.",
)  # fmt: skip

GENERAL = """
Please keep a copy of this document for your records.
This copy was printed from our electronic files.
Changes to this document are valid only in writing.
If you find an error, please let us know as soon as you can.
Earlier versions of this document should no longer be used.
All details were correct to our knowledge when this was written.
The usual terms apply unless something else is stated here.
Further copies can be had on request.
This page may be copied for internal use.
Some details have been left out because they are of no interest here.
Please read the whole text before you reply.
We thank everyone who helped to prepare these pages.
Words in the singular include the plural where the sense allows it.
Headings are for convenience only.
Parts of this text were translated; the original version decides in case of doubt.
Personal data are used only for the purpose named here.
Our staff will gladly answer any question.
Nothing in this text is meant to replace professional advice.
Where several people are concerned, each of them should read this.
Handwritten notes on printed copies have no effect.
The attachments are part of this document.
Please do not send originals, since we cannot return them.
Missing pages should be reported at once.
The order of the items has no meaning.
Figures may not add up exactly because of rounding.
Names of firms and products belong to their owners.
The text was checked by two readers before it was released.
Colours on screen may differ from those in print.
This section was left unchanged.
The following remarks are for information only.
Questions that came up often are answered at the end.
We reserve the right to correct obvious mistakes.
Use the reference shown above whenever you write to us.
If you are not the person this was meant for, please pass it on or destroy it.
Large print copies are available.
Please recycle this paper.
A short summary was sent to everyone concerned.
Nobody objected to this way of working.
We hope that this meets your needs.
Details may be added later by agreement.
The form of this document follows our usual pattern.
Please allow some time for the post.
Everything else remains as it was.
It is the duty of each recipient to keep this in a safe place.
A signature is not needed when this is sent electronically.
Some values were copied by hand and have been checked once.
Where nothing is entered, the item does not apply.
Local rules may ask for more than is written here.
Public holidays can delay our reply.
The file name of this document may change without notice.
Background information is kept in a separate folder.
Comments from readers are always welcome.
No part of this text should be quoted without its context.
Our way of counting has not changed.
These notes do not claim to be complete.
The tables were made by a program and may be cut at the margin.
Abbreviations are written out where they appear first.
Please switch off the printer's scaling to keep the layout.
In urgent cases a call is better than a letter.
The scanned version may show faint marks from the paper.
Any earlier talks about this matter are replaced by this text.
Please check whether all the pages arrived.
Thank you for your attention.
See the notes below.
More on the next page.
Kept on file.
For your information.
End of section.
No further remarks.
Subject to correction.
Please handle with care and keep away from children where this applies.
The responsible office can be reached in the usual way.
Small deviations do not entitle anyone to a claim.
What is said here for one site holds for the others in the same way.
We have tried to keep the language simple.
A plain text version of this page is kept for older programs.
Some readers may prefer to start with the last section.
The wording was agreed by all sides.
Nothing on this page is confidential.
This information replaces the leaflet that you may have at home.
""".strip().split("\n")

BY_KIND = {
    "invoice": """
Please state the invoice reference with your transfer.
The goods remain our property until they have been paid in full.
Please check the goods on arrival and report damage without delay.
No cash payments can be taken at the warehouse.
A reminder may be sent if a payment does not reach us.
Complaints about an invoice should be made in writing.
Cheques can no longer be accepted.
Prices are those agreed at the time of the order.
Thank you for your business.
Bank charges are borne by the person who pays.
""",
    "purchase order": """
Please confirm this order in writing.
Pack fragile goods separately and mark them clearly.
A packing list must go with every parcel.
We do not accept part deliveries unless agreed before.
Please send one invoice only, with the order reference on it.
Goods that were not ordered will be returned at the sender's cost.
Our general conditions of purchase apply.
The driver must report to the gate before unloading.
Substitutes need our consent.
Please use pallets that can be exchanged.
""",
    "quotation": """
This offer is free of charge and without obligation.
We would be glad to receive your order.
Installation is not included unless it is listed.
Drawings remain our property.
The offer rests on the documents that you sent us.
Extra work is charged by time spent.
Prices may change if quantities change.
We can send samples on request.
Our technical staff can visit you to discuss details.
Scaffolding and power are to be provided by the customer.
""",
    "lease": """
The tenant shall keep the rooms clean and in good order.
No walls may be removed without written consent.
Keys must be returned at the end of the lease.
The landlord may enter after giving notice, except in an emergency.
Bicycles must not be left on the stairs.
The tenant shall report damage to pipes at once.
Subletting needs the landlord's consent in writing.
Rubbish is to be sorted and put in the bins in the yard.
Both sides have received a signed copy.
Noise is to be kept low at night.
If a clause is void, the others stay in force.
""",
    "service contract": """
The provider works with due care and skilled staff.
The client gives access to all rooms and systems that are needed.
Neither side is liable for events beyond its control.
Information about the other side's business is kept secret.
Subcontractors may be used if the client agrees.
Work outside the agreed scope is offered separately.
Tools and materials are brought by the provider.
This contract replaces all earlier ones on the same subject.
Each side bears its own costs for advice.
The provider reports defects that it notices.
""",
    "policy": """
Managers make sure that their teams know this policy.
Exceptions must be asked for in advance and in writing.
Breaches may lead to measures under the staff rules.
The policy is explained to teams in short talks.
Please ask before you act if you are unsure.
Forms must be filled in completely.
New staff receive this policy with their contract.
Translations are available on the intranet.
The spirit of the rules counts as much as their wording.
Nobody will suffer for reporting a concern in good faith.
""",
    "data sheet": """
Specifications are subject to change without notice.
Typical values are given unless a limit is stated.
Do not use this product in life support equipment.
Observe the usual precautions against static discharge.
Accessories are sold separately.
Dimensions are nominal.
Only trained personnel should install the unit.
Test reports are available to customers.
The drawing is not to scale.
Keep the original packing for transport.
""",
    "manual": """
Read this chapter before you switch the appliance on.
Disconnect the mains plug before cleaning.
Never use force to close the cover.
Wear gloves when touching sharp edges.
Use original spare parts only.
Children must not play with the appliance.
If the fault remains, call an authorised workshop.
Illustrations may differ from your model.
Do not use solvents or abrasive sponges.
Make sure that the appliance stands level.
Let hot parts cool down first.
""",
    "laboratory report": """
Results refer only to the sample as received.
This report may be copied in full only.
The sampling was not part of our work.
Further tests can be ordered at any time.
Uncertainties are available on request.
Opinions are outside the scope of accreditation.
The method was used without deviation.
Blank and control samples were within limits.
Values below the limit of detection are marked as such.
Seals were intact.
""",
    "minutes": """
The chair welcomed everyone and opened the meeting.
The minutes of the last meeting were approved without change.
Members were thanked for their work.
There was a lively discussion.
No conflicts of interest were declared.
Papers had been sent out in advance.
The item was put off to a later meeting.
The report was noted.
There being no other business, the meeting was closed.
It was agreed to look at the matter again.
The caretaker was asked to check the windows.
""",
    "CV": """
I enjoy working with people from many backgrounds.
References are available on request.
I like to finish what I have begun.
I am used to planning my own work.
Several courses in project work completed.
I answer messages quickly.
I learn new things quickly.
Responsible for training new colleagues.
Took part in several audits.
Known for clear notes and calm phone calls.
Organised the yearly open day together with a small team.
""",
    "letter": """
Thank you for your letter and for your patience.
We are sorry for any trouble that this has caused.
Please find the papers enclosed.
We have looked into the matter carefully.
Do not hesitate to write to us if something is unclear.
We would be grateful for a short reply.
Our records show no other open matters.
We look forward to hearing from you.
I am writing about our recent talk.
The matter has been passed on to the right department.
As you know, our offices were being rebuilt for some time.
""",
    "news item": """
Residents reacted with mixed feelings.
A spokesperson declined to comment further.
Local shop owners said they hoped for more visitors.
The plan had been debated for years.
Critics say that the money could be better spent.
Supporters point to similar projects elsewhere.
The opposition has asked for more details.
Several people took pictures of the scene.
Neighbours had complained about traffic before.
The weather was mild and dry.
It remains to be seen whether the plan will work.
Many in the audience applauded.
""",
    "recipe": """
Taste before you add more salt.
Do not worry if it looks uneven.
Use the ripest fruit or vegetables you can find.
A wooden spoon works best.
Do not stir too much.
The smell will tell you when it is ready.
My grandmother often made this at weekends.
Serve while still warm.
Second helpings are likely.
Fresh herbs make a big difference.
Children like to help with this step.
Wash and dry everything first.
""",
    "incident report": """
The area was closed off at once.
Witness statements are attached.
Photographs were taken.
The equipment was taken out of use until checked.
The shift was told about the event at the next briefing.
The manager in charge was told by telephone.
The scene was left as it was until the check.
The person had received the usual instruction.
First aid boxes were complete.
The report will be discussed by the safety committee.
No similar events are on file for this site.
""",
    "abstract": """
Much is still unknown about this question.
Earlier studies gave mixed results.
These findings may inform future work.
Further research is needed.
The data are available on reasonable request.
We discuss limits of the design.
The authors declare no competing interests.
Results were stable across several checks.
Our results agree with theory.
Models were adjusted for common confounders.
The protocol was registered in advance.
""",
    "package metadata": """
Contributions are welcome.
Please open an issue before sending a large change.
See the changelog for details.
The interface may still change before the first stable release.
Tests run on every commit.
Type hints are included.
Bug reports should contain a minimal example.
The documentation has a short tutorial.
This package has no telemetry.
Thanks to all who sent patches.
Wheels are built for the common platforms.
""",
    "product page": """
Customers who looked at this also liked our other series.
Pictures may show accessories that are not included.
Gift wrapping can be chosen at the checkout.
Write a review and help others to choose.
Sign up for our newsletter to hear about offers.
Add to basket
Share this page with a friend.
Packed without plastic.
Our buyers have tested it themselves.
A gift that pleases everyone.
Not sure? Compare it with similar products.
""",
    "event page": """
No previous knowledge is needed.
Please arrive a little early.
The organisers may take photographs during the event.
Dogs have to stay outside.
Snacks and drinks can be bought on site.
Seats cannot be reserved.
In bad weather we move indoors.
Bring a friend.
The programme may change at short notice.
We thank our volunteers and sponsors.
Please think of the neighbours on your way home.
""",
    "form": """
Please write in block capitals.
Tick what applies.
Fields marked with a star must be filled in.
Incomplete forms cannot be processed.
Do not write below this line.
For office use only.
I declare that all the above is true and complete.
Attach copies of all certificates.
Send the form by post or hand it in at the desk.
Use a separate form for each person.
""",
}
POOLS = {kind: [line for line in text.split("\n") if line] for kind, text in BY_KIND.items()}


def sentences(values: Values, kind: str) -> Iterator[str]:
    """All sentences for a kind, its own ones mostly first, in random order, none twice."""
    own, general = values.some(POOLS[kind], 99), values.some(GENERAL, len(GENERAL))
    head = values.whole(0, 6)
    mixed = own[: len(own) - head] + values.some(general[:8] + own[len(own) - head :], 99)
    yield from mixed
    yield from general[8:]
