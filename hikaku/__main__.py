"""`python -m hikaku`: the same as the command `hikaku`, as Ray jobs start it."""

from hikaku.cli import main

main()
