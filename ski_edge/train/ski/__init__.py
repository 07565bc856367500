"""SKI training: a skeleton teacher and a video student that meet in the space of text.

recipe.py      one run, in one YAML file
world.py       the data of a run: paired clips, who trains and who tests, text
pair.py        the networks of a run and what they say about a batch
losses.py      what is made small
optim.py       AdamW groups, schedule, averaging
loop.py        the run: steps, resume, evaluation
stages.py      runs that need other runs: each is made once and shared
rendered.py    the small honest world: real skeletons, drawn as video
"""
