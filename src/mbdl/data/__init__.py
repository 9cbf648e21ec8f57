"""The data that studies use, from installed packages, with their splits."""
