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

extensions = [
    'openstackdocstheme',
    'os_api_ref',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
    'sphinx.ext.autodoc',
]

project = 'nova-meta'
copyright = 'OpenStack contributors'
root_doc = 'index'
pygments_style = 'native'
add_module_names = False
modindex_common_prefix = ['nova_meta.']

html_theme = 'openstackdocs'
# The modules are described where it helps, no index of them is needed.
html_domain_indices = False

openstackdocs_auto_name = False
openstackdocs_bug_project = 'nova'
openstackdocs_pdf_link = False
openstackdocs_use_storyboard = False

config_generator_config_file = '../../etc/nova-meta-config-generator.conf'
sample_config_basename = '_static/nova-meta'
