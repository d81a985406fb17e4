"""`python -m bubuku.daemon`: how the sandbox starts it, where no console script may be installed."""

from bubuku.daemon import main

main()
