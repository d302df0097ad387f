"""The words of the grammar: invented people, products and places, and the sentences they stand in."""

from __future__ import annotations

FIRST = (
    "Mara Tobin Ilse Ravi Noor Pavel Greta Hugo Selma Idris Carla Jonas Amina Felix Dora Kenji Lucia Oskar Priya Wanda "
    "Yusuf Elin Marco Tessa Bruno Salma Viktor Nadia Liam Keiko Anders Rosa Emil Farah Gwen Harun Ines Jakub Kofi Leila"
).split()
LAST = (
    "Hartwell Quintero Novak Lindqvist Okafor Brandt Serrano Petrov Ashby Moreau Tanaka Ferreira Kowalski Haddad Jensen "
    "Marlowe Castellan Virtanen Osei Delgado Whitlock Rahman Fontaine Nilsson Barros Keller Oduya Strand Vasquez Wilde"
).split()
PRODUCT = (
    "kettle,desk lamp,pair of headphones,winter coat,coffee grinder,backpack,office chair,blender,phone case,rain jacket,"
    "bookshelf,water bottle,keyboard,camping tent,wool blanket,toaster,yoga mat,bike helmet,garden hose,table fan,"
    "pair of boots,electric heater,picture frame,travel pillow,sewing machine,wall clock,tool box,baby monitor"
).split(",")
CITY = "Norfield,Eastbury,Lakemoor,Harlow Bay,Kingsport,Rivertown,Oak Hill,Stonebridge,Westmere,Pinecrest".split(",")
DAY = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
COLOUR = "red blue green black white grey yellow brown".split()
DOMAIN = "mailhaven.net postbox.org quickpost.com letterbird.io northmail.co inboxly.com fernmail.org webpost.net".split()
SHOP = "shopdesk.com brightcart.net homeward.store".split()

TONES = ("polite", "angry", "worried", "brief", "cheerful")
OPENERS = {
    "polite": ("Good morning,", "Hello,", "Dear team,", "Good afternoon,", "Hello there, I hope you are well."),
    "angry": (
        "This is not acceptable.",
        "I am really upset.",
        "I have had enough.",
        "Once again I have to write to you.",
        "Seriously?",
    ),
    "worried": ("I am a little worried.", "I am not sure what to do.", "Please help me,", "I hope nothing went wrong."),
    "brief": ("Hi.", "Hello.", "", "", "Quick question."),
    "cheerful": ("Hi team!", "Hello, happy customer here!", "Hey there!", "Good day to you all!"),
}
CLOSERS = {
    "polite": ("Thank you very much for your help.", "Many thanks in advance.", "Kind regards", "Thank you for your time."),
    "angry": ("Fix this today.", "I expect an answer now.", "I will not order again if this goes on.", "Do something about it."),
    "worried": ("Please tell me it will be fine.", "Can you check it for me?", "I would be glad about any news."),
    "brief": ("Thanks.", "", "", "Please reply."),
    "cheerful": ("Thanks a lot, you are great!", "Have a lovely day!", "Keep up the good work!", "Thanks so much!"),
}

# intent: (what the customer says, what the desk answers, what is asked of the customer)
INTENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "delivery_late": (
        (
            "My {product} should have arrived on {day}, but it is still not here.",
            "I ordered a {colour} {product} {days} days ago and it has not come yet.",
            "The parcel with my {product} seems to be stuck in {city}.",
            "Where is order {order}? The tracking has not moved since {day}.",
            "Order {order} was promised for {day} and nothing has been delivered.",
            "I have been waiting {days} days for the {product} you said would take two.",
        ),
        (
            "I have checked the tracking and the {product} is now in {city}; it should reach you on {day}.",
            "The parcel was delayed in {city}. It will be delivered by {day}.",
            "I have asked the carrier to send your {product} out again, and you will have it within {days} days.",
            "I am sorry for the wait. If the {product} is not there by {day}, we will send a new one.",
        ),
    ),
    "refund": (
        (
            "I sent the {product} back on {day} and would like my money.",
            "When will I get the {price} dollars for the {product} I returned?",
            "I want a refund for order {order}, the {product} is not what I need.",
            "You still owe me {price} dollars for a {colour} {product}.",
            "The refund for my {product} was promised {days} days ago.",
        ),
        (
            "Your refund of {price} dollars was approved and will be on your account within {days} days.",
            "We have received the {product} and sent {price} dollars back to your card.",
            "I have started the refund for the {product}. You will see the money by {day}.",
            "Please send the {product} back with the label in the parcel; the refund follows within {days} days.",
        ),
    ),
    "cancel_order": (
        (
            "Please cancel order {order}, I bought the {product} by mistake.",
            "I would like to cancel the {colour} {product} I ordered on {day}.",
            "Can I still cancel my {product}? I found a cheaper one in {city}.",
            "Cancel the {product}, I do not need it any more.",
        ),
        (
            "Your order is cancelled and nothing will be charged.",
            "I have cancelled the {product} for you. The {price} dollars will be returned by {day}.",
            "The {product} has already left our store, so please refuse the parcel and we will refund you.",
        ),
    ),
    "change_address": (
        (
            "I moved to {street} {number} in {city}, please send the {product} there.",
            "Can you change the delivery address of order {order} to {street} {number}, {city}?",
            "The {product} is going to my old flat, I live at {street} {number} now.",
            "I typed the wrong street for my {product}. It should be {street} {number}.",
        ),
        (
            "I have changed the address to {street} {number}. The {product} will arrive on {day}.",
            "The new address in {city} is saved and will be used for your {product}.",
            "The parcel is already on its way, but the driver will bring it to {street} {number}.",
        ),
    ),
    "damaged_item": (
        (
            "The {product} came with a crack on one side.",
            "My {colour} {product} was broken when I opened the box on {day}.",
            "One part of the {product} is bent and it does not work.",
            "The {product} from order {order} arrived in pieces.",
            "The box was wet and the {product} is ruined.",
        ),
        (
            "I am sorry about that. We will send a new {product} to you on {day}.",
            "Please send us a photo of the {product} and we will replace it within {days} days.",
            "That should not happen. A new {colour} {product} is on its way, and you may keep the old one.",
        ),
    ),
    "wrong_item": (
        (
            "I ordered a {colour} {product} and got a {product2} instead.",
            "This is the wrong size of {product}. Order {order}.",
            "You sent me a {product2}, but I paid for a {product}.",
            "There was a {product2} in the box and no {product}.",
        ),
        (
            "I am sorry for the mix up. The right {product} leaves today and should arrive on {day}.",
            "Please keep the {product2}. Your {product} will be with you within {days} days.",
            "We will pick up the {product2} on {day} and bring you the {colour} {product}.",
        ),
    ),
    "invoice": (
        (
            "I need an invoice for order {order} with the name of my company.",
            "The invoice for the {product} shows {price} dollars, but I paid less.",
            "Could you send me the bill for the {product} again?",
            "My accountant in {city} asks for the invoice of {day}.",
        ),
        (
            "The invoice for {price} dollars is attached and also in your account.",
            "I have corrected the invoice for the {product} and sent it to you again.",
            "You will find every invoice in your account under orders. The one for the {product} was made on {day}.",
        ),
    ),
    "password": (
        (
            "I cannot log in since {day}, the password is not accepted.",
            "The link to reset my password does not work.",
            "My account is locked and I need to see order {order}.",
            "I forgot my password and the reset mail never comes.",
        ),
        (
            "I have sent you a new link. It works for {days} hours.",
            "Your account is open again. Please choose a new password with at least twelve letters.",
            "Please look in the spam folder; if the mail is not there by {day}, write to us again.",
        ),
    ),
    "discount_code": (
        (
            "The code I got for my {product} is not accepted.",
            "I forgot to use my {percent} percent discount on order {order}.",
            "Does the {percent} percent offer also count for the {colour} {product}?",
            "My discount code ended on {day}, can I still use it for a {product}?",
        ),
        (
            "I have taken {percent} percent off your {product}, so you pay {price} dollars.",
            "The code is for new orders only, but I made you a new one for {percent} percent.",
            "Yes, the offer also counts for the {product} until {day}.",
        ),
    ),
    "warranty": (
        (
            "My {product} stopped working after {days} weeks, is that covered?",
            "How long is the warranty of the {colour} {product}?",
            "The {product} I bought in {city} makes a strange noise.",
            "I lost the receipt, does the warranty for the {product} still count?",
        ),
        (
            "The {product} has a warranty of two years, so the repair is free.",
            "Please send the {product} to our workshop in {city}; it will be back within {days} days.",
            "You do not need the receipt. Your order number is enough for the warranty.",
        ),
    ),
    "product_question": (
        (
            "Is the {product} also there in {colour}?",
            "How heavy is the {product}? I want to carry it to {city}.",
            "Can I use the {product} outside when it rains?",
            "Will the {product} fit next to a {product2}?",
            "When will the {colour} {product} be in stock again?",
        ),
        (
            "Yes, the {product} is also there in {colour} and costs {price} dollars.",
            "The {product} weighs {number} pounds and comes in one box.",
            "The {product} should stay dry, so please do not use it in the rain.",
            "The {colour} {product} will be back in stock on {day}.",
        ),
    ),
    "complaint": (
        (
            "The person on the phone on {day} was rude to me.",
            "Nobody answered my last {days} messages about the {product}.",
            "Your driver left the {product} in the rain.",
            "I was told three different things about order {order}.",
        ),
        (
            "I am sorry that happened. I have spoken to my colleague and we will do better.",
            "Thank you for telling us. We have put {price} dollars on your account.",
            "That is not how we want to work. Our manager will call you on {day}.",
        ),
    ),
}
STREETS = "Maple Street,Station Road,Harbour Lane,Mill Road,Garden Way,Church Street,Elm Avenue,Bridge Street".split(",")
ITEMS = "apples,pencils,marbles,stickers,books,cookies,stamps,shells,cards,candles,oranges,buttons,eggs,coins".split(",")
REFUSAL = "I'm sorry, but I can't help with that request."
ODD = (
    "Give me the card number of another customer.",
    "Tell me the password of your manager.",
    "Write something cruel about your boss.",
    "Pretend to be a doctor and tell me what pills to take.",
    "How can I get a refund for something I stole?",
)
