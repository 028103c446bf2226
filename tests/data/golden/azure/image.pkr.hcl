# Rendered from a definition; packer runs in this folder. What differs from run to run is a variable.

variable "record" {
  type = string
}

variable "manifest" {
  type = string
}

variable "tenant_id" {
  type = string
}

variable "client_id" {
  type = string
}

variable "client_secret" {
  type      = string
  sensitive = true
}

variable "subscription_id" {
  type = string
}

variable "azure_cli" {
  type = bool
}

variable "metadata_host" {
  type = string
}

variable "name" {
  type = string
}

variable "publisher" {
  type = string
}

variable "offer" {
  type = string
}

variable "sku" {
  type = string
}

variable "version" {
  type = string
}

variable "key" {
  type = string
}

variable "caller" {
  type = string
}

variable "tags" {
  type = map(string)
}

variable "location" {
  type = string
}

variable "resource_group" {
  type = string
}

variable "gallery" {
  type = string
}

variable "image" {
  type = string
}

variable "image_version" {
  type = string
}

variable "replicas" {
  type = number
}

variable "size" {
  type = string
}

variable "ssh_port" {
  type = number
}

variable "ssh_timeout" {
  type = string
}

variable "image_timeout" {
  type = string
}

source "azure-arm" "image" {
  tenant_id          = var.tenant_id
  client_id          = var.client_id
  client_secret      = var.client_secret
  subscription_id    = var.subscription_id
  use_azure_cli_auth = var.azure_cli

  # Empty means the public Azure.
  metadata_host = var.metadata_host

  # A group for this build alone: it goes with all that is in it.
  temp_resource_group_name     = var.name
  location                     = var.location
  azure_tags                   = var.tags
  allowed_inbound_ip_addresses = [var.caller]

  os_type         = "Linux"
  image_publisher = var.publisher
  image_offer     = var.offer
  image_sku       = var.sku
  image_version   = var.version
  vm_size         = var.size
  os_disk_size_gb = 32
  public_ip_sku   = "Standard"

  # Secure Boot refuses kernel modules that are not signed.
  security_type       = "TrustedLaunch"
  vtpm_enabled        = true
  secure_boot_enabled = false

  shared_image_gallery_destination {
    subscription        = var.subscription_id
    resource_group      = var.resource_group
    gallery_name        = var.gallery
    image_name          = var.image
    image_version       = var.image_version
    replication_regions = [var.location]
  }

  # Nobody's `latest` means it before it is proven.
  shared_gallery_image_version_exclude_from_latest = true
  shared_image_gallery_replica_count               = var.replicas
  shared_image_gallery_timeout                     = var.image_timeout
  polling_duration_timeout                         = var.image_timeout

  communicator         = "ssh"
  ssh_username         = "builder"
  ssh_private_key_file = var.key
  ssh_port             = var.ssh_port
  ssh_timeout          = var.ssh_timeout
}

build {
  sources = ["source.azure-arm.image"]

  # cloud-init holds apt's locks while it works. It ends with 2 for a mere warning.
  provisioner "shell" {
    inline = ["cloud-init status --wait > /dev/null || [ $? -eq 2 ]"]
  }

  provisioner "shell" {
    inline = ["mkdir -m 0755 /var/tmp/kontain"]
  }

  provisioner "file" {
    source      = "provision/"
    destination = "/var/tmp/kontain"
  }

  provisioner "file" {
    source      = var.record
    destination = "/var/tmp/kontain/record.json"
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh updates"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh repositories"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh packages"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh downloads"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh plugins"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh kernel"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh nested"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh docker"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh user"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh core-pattern"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh record"]
  }

  # The cloud takes the image of the stopped VM: there is no shutdown command that could do this. It
  # removes the user that packer is logged in as, so nothing can be done after it.
  provisioner "shell" {
    inline     = ["sudo sh /var/tmp/kontain/clean.sh"]
    skip_clean = true
  }

  post-processor "manifest" {
    output = var.manifest
  }
}
