"""The acceptance of a network with its bundle: what is asked, what was answered, which criteria hold, and the page that shows it."""
