"""Who is there: what instances offer and say, how long they are believed, what services need of each other."""
