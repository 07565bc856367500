"""SKI training: a skeleton teacher and a video student that meet in the space of text.

recipe.py      one run, in one YAML file
world.py       the data of a run: paired clips, who trains and who tests, text
networks.py    student, teacher and texts, from where they begin
pair.py        the networks of a run and what they say about a batch
batches.py     pairs of clips, batch by batch
losses.py      what is made small
optim.py       AdamW groups, schedule, averaging
loop.py        the run: steps, resume
score.py       its numbers on classes seen and unseen
stages.py      runs that need other runs: each is made once and shared
"""
