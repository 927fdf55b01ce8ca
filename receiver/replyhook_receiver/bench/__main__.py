"""`python -m replyhook_receiver.bench CASE FOLDER CORE [JWKS_URL]`: one case's server, started by `replyhook bench`."""

import sys

from replyhook_receiver.bench.server import main

if __name__ == "__main__":
    main(*sys.argv[1:])
