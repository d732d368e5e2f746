"""The command line as a program of its own, which processes can start anew by its file."""

from latentlabels.cli import run

if __name__ == "__main__":
    run()
