"""Class names of the data sets, in the order of their labels."""

from __future__ import annotations


def _lines(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.strip().split(";"))


UCLA = _lines("""
pick up with one hand; pick up with two hands; drop trash; walk around; sit down; stand up; donning; doffing; throw;
carry
""")
UTD = _lines("""
right arm swipe to the left; right arm swipe to the right; right hand wave; two hand front clap; right arm throw;
cross arms in the chest; basketball shoot; right hand draw x; right hand draw circle (clockwise);
right hand draw circle (counter clockwise); draw triangle; bowling (right hand); front boxing;
baseball swing from right; tennis right hand forehand swing; arm curl (two arms); tennis serve; two hand push;
right hand knock on door; right hand catch an object; right hand pick up and throw; jogging in place;
walking in place; sit to stand; stand to sit; forward lunge (left foot forward); squat (two arms stretch out)
""")
PKU = _lines("""
bow; brushing hair; brushing teeth; check time (from watch); cheer up; clapping; cross hands in front (say stop);
drink water; drop; eat meal/snack; falling; giving something to other person; hand waving; handshaking;
hopping (one foot jumping); hugging other person; jumping up; kicking other person; kicking something;
making a phone call/answering phone; patting on back of other person; pickup; playing with phone/tablet;
pointing finger at the other person; pointing to something with finger; punching/slapping other person;
pushing other person; put on a hat/cap; put something inside pocket; reading; rub two hands together; salute;
sitting down; standing up; take off a hat/cap; take off glasses; take off jacket; take out something from pocket;
taking a selfie; tear up paper; throw; touch back (backache); touch chest (stomachache/heart pain);
touch head (headache); touch neck (neckache); typing on a keyboard; use a fan (with hand or paper)/feeling warm;
wear jacket; wear on glasses; wipe face; writing
""")
SYSU = _lines("""
drinking; pouring; calling phone; playing phone; wearing backpack; packing backpack; sitting chair; moving chair;
taking out wallet; taking from wallet; mopping; sweeping
""")
# Toyota Smarthome writes the name into the file name.
SMARTHOME = _lines("""
Cook.Cleandishes; Cook.Cleanup; Cook.Cut; Cook.Stir; Cook.Usestove; Cutbread; Drink.Frombottle; Drink.Fromcan;
Drink.Fromcup; Drink.Fromglass; Eat.Attable; Eat.Snack; Enter; Getup; Laydown; Leave; Makecoffee.Pourgrains;
Makecoffee.Pourwater; Maketea.Boilwater; Maketea.Insertteabag; Pour.Frombottle; Pour.Fromcan; Pour.Fromkettle;
Readbook; Sitdown; Takepills; Uselaptop; Usetablet; Usetelephone; Walk; WatchTV
""")
