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

"""Errors that upstream has no name for."""

from nova import exception

from nova_meta.i18n import _


class ExtraSpecKeysCollide(exception.FlavorExtraSpecUpdateCreateFailed):
    msg_fmt = _("The extra specs of flavor %(id)s cannot have two keys that "
                "the database takes for one, such as keys that differ in "
                "trailing spaces only. Nothing was changed. Use another key, "
                "or delete the one that is there.")


class MetadataItemNotFound(exception.NotFound):
    msg_fmt = _("Metadata item was not found")


class MetadataUpdateConflict(exception.NovaException):
    msg_fmt = _("The metadata of server %(instance_uuid)s is being changed "
                "by too many others at once. It was not changed, and the "
                "same may be tried again.")
    code = 409


class PreconditionFailed(exception.Forbidden):
    # Of the errors that upstream's expected_errors does not make a 500 of,
    # this is the nearest.
    msg_fmt = _("What the If-Match or If-None-Match header of the request "
                "asks for is not so. Nothing was changed.")
    code = 412


class UnsupportedNova(exception.NovaException):
    msg_fmt = _("nova-meta works with Nova %(oldest)s to %(newest)s, and Nova "
                "%(found)s is installed. Put the original "
                "paste.app_factory lines back into api-paste.ini and take the "
                "patch out of Nova, or install a release of nova-meta that "
                "knows this Nova.")
