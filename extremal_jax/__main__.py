"""python -m extremal_jax"""

from extremal_jax.cli import main

if __name__ == "__main__":
    main()
