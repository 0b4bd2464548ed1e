import os

import setuptools

# pbr takes the version from git, or from what an sdist brings. A bare source
# tree has neither.
if not any(map(os.path.exists, ('.git', 'PKG-INFO'))):
    os.environ.setdefault('PBR_VERSION', '0.1.0')

setuptools.setup(
    setup_requires=['pbr>=6.0.0'],
    pbr=True)
