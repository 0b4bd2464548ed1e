#!/bin/bash
#
# DevStack plugin of nova-meta. In local.conf:
#
#     enable_plugin nova-meta <URL of the repository> [<branch>]
#
# See https://docs.openstack.org/devstack/latest/plugins.html.

NOVA_META_DIR=${NOVA_META_DIR:-$DEST/nova-meta}

function install_nova_meta {
    setup_develop "$NOVA_META_DIR"
}

function configure_nova_meta {
    if [[ "$NOVA_META_PATCH" == "True" ]]; then
        nova-meta-patch apply --api-paste "$NOVA_API_PASTE_INI"
    else
        iniset "$NOVA_API_PASTE_INI" app:osapi_compute_app_v21 \
            paste.app_factory nova_meta.api.app:factory
    fi
}

function unconfigure_nova_meta {
    if [[ "$NOVA_META_PATCH" == "True" ]]; then
        nova-meta-patch revert --api-paste "$NOVA_API_PASTE_INI"
    else
        iniset "$NOVA_API_PASTE_INI" app:osapi_compute_app_v21 \
            paste.app_factory nova.api.openstack.compute:APIRouterV21.factory
    fi
}

if is_service_enabled nova; then
    case "$1 ${2:-}" in
        "stack install")
            echo_summary "Installing nova-meta"
            install_nova_meta
            ;;
        # Before the services are started.
        "stack post-config")
            echo_summary "Configuring nova-meta"
            configure_nova_meta
            ;;
        "unstack "*)
            unconfigure_nova_meta
            ;;
        "clean "*)
            pip_uninstall nova-meta
            ;;
    esac
fi
