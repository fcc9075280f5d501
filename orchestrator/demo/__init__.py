"""The main job, on real input: three services read the source files of the Python they run on, while one worker is killed.

``parse.file`` reads one source file and finds what is in it (CPU-bound), ``index.add`` enters that into an index of who imports
whom, ``summarise.report`` turns the index into facts. Every file is two tasks, and the answer at the end is true of this machine:
nothing here is made up, and nothing waits for show.

Half way one ``parse`` process is killed (SIGKILL) in the middle of its tasks. An independent *witness*, a file to which every
handler appends a line when it starts and when it ends, says afterwards what really ran: whether a task was lost, whether one ran
twice, and how long after the kill the first task of the dead process started elsewhere.

    files.py      which files                       services.py   the three services, as a user would write them
    findings.py   what is in a file                 witness.py    what really ran
    index.py      who imports whom                  stage.py      the processes: broker, coordinator, agents
    facts.py      what is worth telling             play.py       the job, the kill, the bill
"""
