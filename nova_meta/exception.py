#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Errors that upstream has no exception for."""

from nova import exception

from nova_meta.i18n import _


class ExtraSpecKeysCollide(exception.FlavorExtraSpecUpdateCreateFailed):
    msg_fmt = _("The database does not distinguish two extra spec keys of "
                "flavor %(id)s, for example because they differ only in case, "
                "or in trailing spaces. Nothing was changed. Use another key, "
                "or delete the existing one first.")


class ExtraSpecUpdateConflict(exception.FlavorExtraSpecUpdateCreateFailed):
    # Upstream's tells a number of retries, and the time may have ended them.
    msg_fmt = _("Too many other requests are changing the extra specs of "
                "flavor %(id)s. They were not changed. Try again.")


class MetadataItemNotFound(exception.NotFound):
    msg_fmt = _("Metadata item was not found")


class MetadataUpdateConflict(exception.NovaException):
    msg_fmt = _("Too many other requests are changing server "
                "%(instance_uuid)s. Its metadata was not changed. Try again.")
    code = 409


class PreconditionFailed(exception.Forbidden):
    # A Forbidden, because upstream's expected_errors lets that pass, and lists
    # no 412 for these methods.
    msg_fmt = _("The condition in the If-Match or If-None-Match header does "
                "not hold. Nothing was changed. Get the current ETag and try "
                "again.")
    code = 412


class UnsupportedNova(exception.NovaException):
    msg_fmt = _("nova-meta works with Nova %(oldest)s to %(newest)s, but Nova "
                "%(found)s is installed. Restore the original "
                "paste.app_factory lines in api-paste.ini and remove the "
                "patch from Nova (nova-meta-patch revert), or install a "
                "release of nova-meta that supports this Nova.")
